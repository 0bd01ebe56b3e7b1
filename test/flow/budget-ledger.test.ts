import { expect, it } from 'vitest'
import {
  type Charge,
  type ChargeLine,
  decideCharges,
  lockLedger,
  meterKey,
  openLedger,
  writeLedger,
} from '../../src/domains/budgets/budgets.ts'
import type { Tx } from '../../src/foundation/storage/storage.ts'
import { createTestRuntime } from '../../src/testing/testing.ts'
import { createDatabase, describeOnPostgres } from '../support/servers.ts'
import { checkLedger } from '../torture/ledger-promises.ts'
import { closing } from './support/databases.ts'
import { until } from './support/until.ts'

const meter = {
  tenantId: 'default',
  subject: 'tenant',
  metric: 'tokens',
  period: 'day',
  periodStart: new Date(0),
} as const
const nothing = {
  carried: 0n,
  release: 0n,
  releaseApproved: 0n,
  begun: 0n,
  joins: false,
  recounts: false,
  ahead: 0n,
  settled: 0n,
  overrun: 0n,
  estimated: 0n,
}
const line = { ...nothing, meter, key: meterKey(meter), limits: [], unrecorded: 0n, uncosted: 0, overDeclared: false }

function reserving(need: bigint, opens = false): Charge {
  const runId = '019f0000-0000-7000-8000-000000000001'
  const lines: ChargeLine[] = [{ ...line, need }]
  return { tenantId: 'default', runId, holder: runId, lines, force: false, approved: false, opens }
}

async function charge(tx: Tx, charges: Charge[]): Promise<void> {
  const used = await openLedger(tx, charges)
  await writeLedger(tx, decideCharges(charges, { ...(await lockLedger(tx, charges)), used }))
}

describeOnPostgres('two steps of one run that reserve at the same time', (server) => {
  const { later, closeLater } = closing()

  it('reserve both, though the second began before the first was committed', async () => {
    const { url, drop } = await createDatabase(server)
    later(drop)
    const { database } = closeLater(await createTestRuntime({ databaseUrl: url, started: false }))
    await database.transaction((tx) => openLedger(tx, [reserving(0n, true)]))
    const mayCommit = Promise.withResolvers<void>()
    const written = Promise.withResolvers<void>()
    const first = database.transaction(async (tx) => {
      await charge(tx, [reserving(516n)])
      written.resolve()
      await mayCommit.promise
    })
    await written.promise
    const second = database.transaction((tx) => charge(tx, [reserving(162n)]))
    await until(
      () =>
        database.query(`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`),
      (waiting) => waiting.length > 0,
    )
    mayCommit.resolve()
    await Promise.all([first, second])
    expect(await checkLedger(database)).toEqual([])
    const [held] = await database.query('select amount::int from concordat.reservations')
    expect(held).toEqual({ amount: 678 })
  })
})
