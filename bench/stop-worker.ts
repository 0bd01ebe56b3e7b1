import { silentLogger } from '../src/foundation/log.ts'
import { createConcordat, defineAgent } from '../src/index.ts'

/*
 * A worker for the benchmark of stops: each of its runs holds in a step until that is told to abort. Says how many hold,
 * and when each heard it, in milliseconds by a clock that the processes of one machine share.
 */
const heard: { runId: string; at: number }[] = []
let holding = 0

const holds = defineAgent({
  name: 'holds',
  version: '1',
  run: ({ step, run }) =>
    step.do('hold', ({ signal }) => {
      process.send?.({ holding: ++holding })
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          heard.push({ runId: run.runId, at: performance.timeOrigin + performance.now() })
          reject(signal.reason)
        })
      })
    }),
})

const concordat = await createConcordat({
  agents: [holds],
  log: silentLogger,
  processKind: 'worker',
  config: { governanceProfile: 'STRICT', eventTransport: 'postgres', workerConcurrency: 500, drainTimeoutMs: 0 },
})
await concordat.start()
process.on('message', async (message) => {
  if (message === 'tell') {
    process.send?.({ heard: heard.splice(0) })
    holding = 0
  } else {
    await concordat.close()
    process.exit(0)
  }
})
process.send?.({ ready: true })
