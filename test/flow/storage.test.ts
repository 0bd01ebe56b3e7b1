import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { silentLogger as log } from '../../src/foundation/log.ts'
import {
  type Database,
  IN_MEMORY,
  lastFlight,
  migrate,
  openDatabase,
  openEmbedded,
  rowSet,
  schemaState,
  snapshot,
  statement,
  type Tx,
  transactionWhenUsed,
} from '../../src/foundation/storage/storage.ts'
import { createConcordat } from '../../src/index.ts'
import { sharedSnapshot } from '../support/embedded.ts'
import { createDatabase, describeOnPostgres } from '../support/servers.ts'
import { closing } from './support/databases.ts'

interface Sample {
  readonly text: string | null
  readonly json: string | null
  readonly jsonb: string | null
  readonly uuid: string | null
  readonly bool: boolean | null
  readonly small: number | null
  readonly int: number | null
  readonly big: bigint | null
  readonly at: Date | null
  readonly address: string | null
}

const SAMPLES = rowSet<Sample>({
  text: ['text', (row) => row.text],
  json: ['json', (row) => row.json],
  jsonb: ['jsonb', (row) => row.jsonb && JSON.stringify(row.jsonb)],
  uuid: ['uuid', (row) => row.uuid],
  bool: ['bool', (row) => row.bool],
  small: ['smallint', (row) => row.small],
  '"int"': ['int', (row) => row.int],
  big: ['bigint', (row) => row.big],
  at: ['timestamptz', (row) => row.at],
  address: ['tid', (row) => row.address],
})

// Text columns can't hold NUL or lone surrogates; payloads write them as escapes.
const columnText = fc.string({ unit: fc.oneof(fc.constantFrom('"', '\\', '{', ',', 'ß', '€', '🦊'), fc.string()) })
const printable = columnText.map((text) => text.replaceAll('\0', '').toWellFormed())
const sample: fc.Arbitrary<Sample> = fc.record({
  text: fc.option(printable),
  json: fc.option(fc.json()),
  jsonb: fc.option(printable.filter((text) => text !== '')),
  uuid: fc.option(fc.uuid()),
  bool: fc.option(fc.boolean()),
  small: fc.option(fc.integer({ min: -32_768, max: 32_767 })),
  int: fc.option(fc.integer()),
  big: fc.option(fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.maxSafeInteger().map(BigInt))),
  at: fc.option(fc.date({ min: new Date(0), max: new Date('2200-01-01'), noInvalidDate: true })),
  address: fc.option(fc.tuple(fc.nat(4_294_967_295), fc.nat(65_535)).map((place) => `(${place.join(',')})`)),
})

/** What every database promises, whichever it is. */
function promises(open: () => Promise<Database>) {
  const count = async (database: Database) => (await database.query('select from kept')).length

  it('begins a transaction with its first statement, and none for work that has none', async () => {
    const database = await open()
    await database.query('create table used (n int)')
    const insert = (tx: Tx) => tx.query('insert into used values (1)')
    const last = async (tx: Tx) => void (await tx.query('insert into used values (2)'))
    const used = async () => (await database.query('select from used')).length
    const idleMsMax = 1_000
    expect(await transactionWhenUsed(database, { write: async () => {}, last, idleMsMax })).toBe(false)
    const failure = new Error('changed my mind')
    const fails = async () => Promise.reject(failure)
    await expect(transactionWhenUsed(database, { write: fails, last, idleMsMax })).rejects.toBe(failure)
    const failsLater = (tx: Tx) => insert(tx).then(fails)
    await expect(transactionWhenUsed(database, { write: failsLater, last, idleMsMax })).rejects.toBe(failure)
    const twice = async (tx: Tx) => void (await Promise.all([insert(tx), insert(tx)]))
    const failing = async (tx: Tx) => void (await tx.query('select 1 / 0'))
    await expect(transactionWhenUsed(database, { write: twice, last: failing, idleMsMax })).rejects.toThrow(
      'division by zero',
    )
    expect(await used()).toBe(0)
    expect(await transactionWhenUsed(database, { write: twice, last, idleMsMax })).toBe(true)
    expect(await used()).toBe(3)
  })

  it('keeps what a transaction wrote that resolved, and nothing of one that rejected', async () => {
    const database = await open()
    await database.query('create table kept (n int primary key)')
    await database.transaction((tx) => tx.query('insert into kept values (1)'))
    const failing = database.transaction(async (tx) => {
      await tx.query('insert into kept values (2)')
      throw new Error('changed my mind')
    })
    await expect(failing).rejects.toThrow('changed my mind')
    expect(await count(database)).toBe(1)
  })

  it('keeps nothing of a last flight of which one statement failed, and tells which', async () => {
    const database = await open()
    const failing = database.transaction(async (tx) => {
      return lastFlight(Promise.all([tx.query('insert into kept values (3)'), tx.query('insert into kept values (1)')]))
    })
    await expect(failing).rejects.toMatchObject({ code: 'DATABASE_ERROR', details: { sqlState: '23505' } })
    expect(await count(database)).toBe(1)
    await database.transaction(async (tx) => lastFlight(tx.query('insert into kept values (4)')))
    expect(await count(database)).toBe(2)
  })

  describe('asked for several things at once', () => {
    const double = statement('test_double', 'select 2 * $1::int as doubled')
    const inverse = statement('test_inverse', 'select 1 / $1::int as inverse')
    const name = statement('test_name', 'select name, null as nothing from (values ($1::text), ($2)) as x (name)')
    const settle = async (queries: Promise<unknown>[]) => {
      return (await Promise.allSettled(queries)).map((result) => {
        return result.status === 'fulfilled' ? result.value : [result.reason.code, result.reason.details?.sqlState]
      })
    }

    it('answers each in order with its own rows, the second time as the first', async () => {
      const database = await open()
      for (const round of [1, 2]) {
        const answers = await database.transaction((tx) => {
          return Promise.all([
            tx.query(double, [round]),
            tx.query('create temporary table if not exists passing (n int)'),
            tx.query(name, ['a', null]),
            tx.query(double, [10]),
            tx.query('select $1::int as n, $2::text as t where false', [1, 'x']),
            tx.query('insert into passing values ($1)', [1]),
            tx.query(''),
          ])
        })
        const names = ['a', null].map((each) => ({ name: each, nothing: null }))
        expect(answers).toEqual([[{ doubled: 2 * round }], [], names, [{ doubled: 20 }], [], [], []])
      }
    })

    it('answers what comes before one that fails; what comes behind fails with it, and works the next time', async () => {
      const database = await open()
      const cube = statement('test_cube', 'select ($1::int) ^ 3 as cubed')
      const wrong = statement('test_wrong', 'select wrong($1)')
      const zero = ['DATABASE_ERROR', '22012']
      for (let round = 1; round <= 2; round++) {
        const failing = database.transaction(async (tx) => {
          const first = await settle([tx.query(double, [2]), tx.query(inverse, [0]), tx.query(cube, [2])])
          expect(first).toEqual([[{ doubled: 4 }], zero, zero])
          expect(await settle([tx.query(double, [2])])).toEqual([zero])
          throw new Error('changed my mind')
        })
        await expect(failing).rejects.toThrow('changed my mind')
      }
      expect(await settle([database.query(wrong, [1])])).toEqual([['DATABASE_ERROR', '42883']])
      expect(await database.query(inverse, [1])).toEqual([{ inverse: 1 }])
      expect(await database.query(cube, [2])).toEqual([{ cubed: 8 }])
    })

    it('fails a statement whose own commit fails', async () => {
      const database = await open()
      await database.query('create table parents (n int primary key)')
      await database.query('create table children (n int references parents deferrable initially deferred)')
      const insert = (tx: Tx) => tx.query('insert into children values ($1) returning n', [1])
      const violated = ['DATABASE_ERROR', '23503']
      expect(await settle([insert(database)])).toEqual([violated])
      expect(await settle([database.transaction(insert)])).toEqual([violated])
      expect(await settle([database.transaction(async (tx) => lastFlight(insert(tx)))])).toEqual([violated])
      expect(await database.query('select from children')).toEqual([])
    })

    it('fails a statement whose values can’t be written, and is there for the next', async () => {
      const database = await open()
      const circular: { self?: object } = {}
      circular.self = circular
      await expect(database.query(double, [circular])).rejects.toThrow('circular')
      await expect(
        database.transaction((tx) => Promise.all([tx.query(double, [1]), tx.query(double, [circular])])),
      ).rejects.toThrow('circular')
      expect(await database.query(double, [1])).toEqual([{ doubled: 2 }])
    })
  })

  it('reads int8 as bigint and json as its text', async () => {
    const database = await open()
    const [row] = await database.query('select 9007199254740993::int8 as big, \'{"a": [1,  2]}\'::json as json')
    expect(row).toEqual({ big: 9_007_199_254_740_993n, json: '{"a": [1,  2]}' })
  })

  it('carries every value of a row set unchanged, nulls and no rows at all', async () => {
    const database = await open()
    const select = `select text, json, jsonb #>> '{}' as jsonb, uuid, bool, small, "int", big, at, address::text from ${SAMPLES.from(1)} as x`
    await fc.assert(
      fc.asyncProperty(fc.array(sample, { maxLength: 20 }), async (rows) => {
        expect(await database.query(select, SAMPLES.values(rows))).toEqual(rows)
      }),
      { numRuns: 50 },
    )
  })

  it('carries signals to whoever listens, until it listens no more', async () => {
    const database = await open()
    const heard: string[] = []
    const first = Promise.withResolvers<void>()
    const unlisten = await database.listen('storage_test', (payload) => {
      heard.push(payload)
      first.resolve()
    })
    await database.notify('storage_test', 'one')
    await first.promise
    await unlisten()
    await database.notify('storage_test', 'two')
    await database.query('select 1')
    expect(heard).toEqual(['one'])
  })

  it('is refused by a version that is older than its schema: SCHEMA_NEWER, and nothing is changed', async () => {
    const database = await open()
    await migrate(database)
    expect(await schemaState(database)).toMatchObject({ pending: [], unknown: [] })
    await database.query(`insert into concordat.migrations (name) values ('9999-from-the-future')`)
    await expect(migrate(database)).rejects.toMatchObject({
      code: 'SCHEMA_NEWER',
      message: expect.stringContaining('9999-from-the-future'),
    })
    await expect(createConcordat({ database, log, env: {}, config: { dataDir: IN_MEMORY } })).rejects.toMatchObject({
      code: 'SCHEMA_NEWER',
    })
  })
}

describe('the embedded database', () => {
  const { later } = closing()
  const folder = mkdtempSync(join(tmpdir(), 'concordat-test-embedded-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  let opened: Promise<Database> | undefined
  promises(() => {
    opened ??= sharedSnapshot().then(async (snapshot) => {
      const database = await openEmbedded({ dataDir: IN_MEMORY, snapshot, sessionTimeoutMs: 2_000 })
      later(() => database.close().catch(() => undefined)) // the last of its promises has closed it
      return database
    })
    return opened
  })

  it('answers a query outside of the transaction that awaits it with an error, not with silence', async () => {
    const database = await openEmbedded({
      dataDir: IN_MEMORY,
      snapshot: await sharedSnapshot(),
      sessionTimeoutMs: 2_000,
    })
    later(() => database.close())
    const nested = database.transaction(async (tx) => {
      await tx.query('create table inside ()')
      await database.query('select 1')
    })
    await expect(nested).rejects.toMatchObject({
      code: 'DATABASE_UNREACHABLE',
      message: expect.stringContaining('timeout'),
    })
    expect(await database.query(`select to_regclass('inside') as found`)).toEqual([{ found: null }])
  })

  it('belongs to one process: a second is refused, and takes over when the first was killed', async () => {
    const snapshotless = join(folder, 'data')
    const script = `
      import { openEmbedded } from ${JSON.stringify(new URL('../../src/foundation/storage/storage.ts', import.meta.url).href)}
      const database = await openEmbedded({ dataDir: ${JSON.stringify(snapshotless)} })
      await database.query('create table survives ()')
      console.log('open')
      setInterval(() => {}, 1_000)`
    const holder = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(holder.stdout, 'data')
    const refused = openEmbedded({ dataDir: snapshotless })
    await expect(refused).rejects.toMatchObject({
      code: 'EMBEDDED_LOCKED',
      message: expect.stringContaining(`process ${holder.pid}`),
      hint: expect.stringContaining('DATABASE_URL'),
    })
    holder.kill('SIGKILL')
    await once(holder, 'exit')
    const database = await openEmbedded({ dataDir: snapshotless })
    expect(await database.query(`select to_regclass('survives')::text as found`)).toEqual([{ found: 'survives' }])
    await expect(openEmbedded({ dataDir: snapshotless })).rejects.toMatchObject({ code: 'EMBEDDED_LOCKED' })
    await database.close()
  })
})

describeOnPostgres('PostgreSQL', (server) => {
  const { later, closeLater } = closing()
  const open = (url: string) => openDatabase({ url, dataDir: '', log })
  const created = async () => {
    const { url, drop } = await createDatabase(server, { empty: true })
    later(drop)
    return url
  }
  let opened: Promise<Database> | undefined
  promises(() => {
    opened ??= created().then(async (url) => {
      const database = await open(url)
      later(() => database.close().catch(() => undefined))
      return database
    })
    return opened
  })

  it('is migrated once by many processes that start at the same time', async () => {
    const url = await created()
    const databases = await Promise.all(Array.from({ length: 4 }, async () => closeLater(await open(url))))
    const applied = await Promise.all(databases.map((database) => migrate(database)))
    expect(applied.filter((names) => names.length > 0)).toHaveLength(1)
    expect(await schemaState(databases[0]!)).toMatchObject({ pending: [], unknown: [] })
    expect(await databases[1]!.query('select tenant_id from concordat.tenants')).toEqual([{ tenant_id: 'default' }])
  })

  it('that has a schema of our name that no migration lists is refused, and nothing is changed', async () => {
    const database = closeLater(await open(await created()))
    await database.query('create schema concordat')
    await database.query('create table concordat.runs (n int)')
    await expect(migrate(database)).rejects.toMatchObject({
      code: 'INVALID_CONFIGURATION',
      hint: expect.stringContaining('drop schema concordat cascade'),
    })
    expect(await database.query('select * from concordat.runs')).toEqual([])
  })

  it('is read as it is at one moment, whatever is committed meanwhile, and nothing can be written there', async () => {
    const database = closeLater(await open(await created()))
    await database.query('create table counted (n int)')
    const count = (tx: Tx) => tx.query('select from counted').then((rows) => rows.length)
    const seen = await snapshot(database, async (tx) => {
      const before = await count(tx)
      await database.query('insert into counted values (1)')
      return [before, await count(tx)]
    })
    expect([seen, await count(database)]).toEqual([[0, 0], 1])
    await expect(snapshot(database, (tx) => tx.query('delete from counted'))).rejects.toThrow('read-only')
    expect(await count(database)).toBe(1)
  })

  it('that cuts all connections is used again as soon as it answers, and listeners hear again', async () => {
    const url = await created()
    const [database, other] = [closeLater(await open(url)), closeLater(await open(url))]
    const heard: string[] = []
    await database.listen('again', (payload) => void heard.push(payload))
    await database.query('select 1')
    await other.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
    )
    await expect.poll(() => database.query('select 1 as one').catch(() => null)).toEqual([{ one: 1 }])
    const heardAgain = async () => {
      await other.notify('again', 'ping')
      return heard.length
    }
    await expect.poll(heardAgain).toBeGreaterThan(0)
  })

  it('that ends a connection in the middle of a flight fails all of it that was not answered', async () => {
    const database = closeLater(await open(await created()))
    const end = 'select pg_terminate_backend(pg_backend_pid()) where $1'
    const cut = database.transaction(async (tx) => {
      return lastFlight(Promise.all([tx.query('select $1::int as n', [1]), tx.query(end, [true])]))
    })
    await expect(cut).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE', kind: 'retryable' })
    await expect(database.query(end, [true])).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
    await expect.poll(() => database.query('select $1::int as n', [1]).catch(() => null)).toEqual([{ n: 1 }])
  })

  it.each([
    ['that waits', () => new Promise((resolve) => setTimeout(resolve, 900))],
    ['that is blocked', () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 900)],
  ])('ends a transaction whose process stands still in it, for others to go on: one %s', async (_what, standStill) => {
    const url = await created()
    const other = closeLater(await open(url))
    const database = closeLater(await openDatabase({ url, dataDir: '', log, idleTransactionMs: 300 }))
    await other.query('create table held (n int)')
    await other.query('insert into held values (0)')
    const changed = Promise.withResolvers<unknown>()
    const stood = database.transaction(async (tx) => {
      await tx.query('update held set n = n + 1')
      changed.resolve(other.query('update held set n = n + 10'))
      await standStill()
      await tx.query('update held set n = n + 100')
    })
    await expect(stood).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE', kind: 'retryable' })
    await changed.promise
    await database.query('update held set n = n + 1000')
    expect(await other.query('select n from held')).toEqual([{ n: 1010 }])
  })

  it('lets a transaction stand still for as long as it says', async () => {
    const url = await created()
    const database = closeLater(await openDatabase({ url, dataDir: '', log, idleTransactionMs: 300 }))
    await database.query('create table held (n int)')
    const insert = async (tx: Tx) => void (await tx.query('insert into held values (1)'))
    const write = (tx: Tx) => insert(tx).then(() => new Promise<void>((resolve) => setTimeout(resolve, 900)))
    expect(await transactionWhenUsed(database, { write, last: insert, idleMsMax: 30_000 })).toBe(true)
    expect(await database.query('select from held')).toHaveLength(2)
  })

  it('that is not there: DATABASE_UNREACHABLE, with a hint', async () => {
    const nowhere = new URL(server.url)
    nowhere.port = '1'
    await expect(open(nowhere.href)).rejects.toMatchObject({
      code: 'DATABASE_UNREACHABLE',
      kind: 'retryable',
      hint: expect.stringContaining('DATABASE_URL'),
    })
  })

  it('that does not exist: a wrong configuration, not tried for ever', async () => {
    const missing = new URL(server.url)
    missing.pathname = 'concordat_no_such_database'
    await expect(open(missing.href)).rejects.toMatchObject({
      code: 'INVALID_CONFIGURATION',
      message: expect.stringContaining('"concordat_no_such_database" does not exist'),
      hint: expect.stringContaining('createdb concordat_no_such_database'),
    })
  })
})
