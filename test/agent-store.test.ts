import { tmpdir } from 'node:os'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { defineAgent, listAgents, registerAgents } from '../src/domains/agents/agents.ts'
import { createLogger } from '../src/foundation/log.ts'
import { type Database, migrate, openDatabase } from '../src/foundation/storage/storage.ts'
import { createDatabase, describeOnPostgres } from './support/servers.ts'

const greeter = (version: string, maxRunning?: number) =>
  defineAgent({
    name: 'greeter [α]/1',
    version,
    input: z.object({ name: z.string().describe('NUL \0 is fine in a schema') }),
    ...(maxRunning !== undefined && { maxRunning }),
    run: ({ input }) => input.name,
  })
const planned = defineAgent({ name: 'planned', version: '1', plan: { steps: [{ skill: 'wait', params: { ms: 1 } }] } })

describeOnPostgres('registered agents', (server) => {
  let database: Database
  let drop: () => Promise<void>

  beforeAll(async () => {
    const created = await createDatabase(server)
    drop = created.drop
    const log = createLogger({ level: 'silent' })
    database = await openDatabase({ url: created.url, dataDir: tmpdir(), log })
    await migrate(database)
  })

  afterAll(async () => {
    await database?.close()
    await drop?.()
  })

  test('are listed by name, versions in the order of their registration', async () => {
    await registerAgents(database, [planned, greeter('10')])
    await registerAgents(database, [greeter('9')])
    const agents = await listAgents(database)
    expect(agents.map(({ name, version, kind }) => [name, version, kind])).toEqual([
      ['greeter [α]/1', '10', 'code'],
      ['greeter [α]/1', '9', 'code'],
      ['planned', '1', 'plan'],
    ])
    expect(agents[0]).toMatchObject({ digest: greeter('10').digest, maxRunning: null })
    expect(agents[0]?.inputSchema).toEqual(greeter('10').inputSchema)
    expect(agents[2]?.inputSchema).toBeNull()
  })

  test('that are registered again keep their place and take the new bound', async () => {
    await registerAgents(database, [greeter('10', 3)])
    const agents = await listAgents(database)
    expect(agents.map(({ version, maxRunning }) => [version, maxRunning])).toEqual([
      ['10', 3],
      ['9', null],
      ['1', null],
    ])
  })

  test('may be registered by many workers at once', async () => {
    const [forwards, backwards] = [
      [planned, greeter('11')],
      [greeter('11'), planned],
    ]
    await Promise.all(Array.from({ length: 20 }, (_, i) => registerAgents(database, i % 2 ? forwards : backwards)))
    expect(await listAgents(database)).toHaveLength(4)
  })

  test('may be none', async () => {
    await registerAgents(database, [])
  })
})
