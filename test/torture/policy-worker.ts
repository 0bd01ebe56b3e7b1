import { silentLogger } from '../../src/foundation/log.ts'
import { createConcordat } from '../../src/index.ts'
import { policyAgents } from './policy-agents.ts'
import { tellReady } from './tell-ready.ts'

/* A worker process whose runs' policies change, to be killed. */

const concordat = await createConcordat({ agents: policyAgents(), log: silentLogger, processKind: 'worker' })
await concordat.start()
tellReady()
