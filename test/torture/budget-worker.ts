import { silentLogger } from '../../src/foundation/log.ts'
import { createConcordat } from '../../src/index.ts'
import { budgetAgents } from './budget-agents.ts'
import { tellReady } from './tell-ready.ts'

/* A worker process whose runs have budgets, to be killed. */

const concordat = await createConcordat({ agents: budgetAgents(), log: silentLogger, processKind: 'worker' })
await concordat.start()
tellReady()
