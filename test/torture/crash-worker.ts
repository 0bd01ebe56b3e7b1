import pg from 'pg'
import { silentLogger } from '../../src/foundation/log.ts'
import { createConcordat } from '../../src/index.ts'
import { crashAgents } from './crash-agents.ts'
import { tellReady } from './tell-ready.ts'

/*
 * A worker process to be killed. Configured by the environment, as the product's own; says `ready` when it executes.
 * OWN_RUNS: how many runs it submits itself, one by one, which it starts with their submission where it can.
 */

const witness = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 4 })
witness.on('error', () => undefined)
const concordat = await createConcordat({ agents: crashAgents(witness), log: silentLogger, processKind: 'worker' })
process.on('SIGTERM', async () => {
  await concordat.close()
  await witness.end()
})
await concordat.start()
tellReady()
for (let left = Number(process.env.OWN_RUNS ?? 0); left > 0; left--) {
  const run = await concordat.runs.submit({ tenant: 'default', agent: 'witnessed', input: 3 })
  await run.result().catch(() => undefined) // the observer judges how it ended
}
