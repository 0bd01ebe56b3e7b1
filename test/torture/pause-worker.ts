import { silentLogger } from '../../src/foundation/log.ts'
import { createConcordat } from '../../src/index.ts'
import { pauseAgents } from './pause-agents.ts'
import { tellReady } from './tell-ready.ts'

/* A worker process whose runs are paused, to be killed. */

const concordat = await createConcordat({ agents: pauseAgents(), log: silentLogger, processKind: 'worker' })
await concordat.start()
tellReady()
