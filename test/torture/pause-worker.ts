import { silentLogger } from '../../src/foundation/log.ts'
import { createConcordat } from '../../src/index.ts'
import { pauseAgents } from './pause-agents.ts'

/* A worker process whose runs are paused, to be killed. */

const concordat = await createConcordat({ agents: pauseAgents(), log: silentLogger, processKind: 'worker' })
await concordat.start()
process.stdout.write('ready\n')
