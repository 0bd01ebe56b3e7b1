import { processTerminal } from '../../src/surface/cli/terminal.ts'
import { openServer } from './database.ts'
import { pauseMany } from './pause-many.ts'

/*
 * 10,000 runs are paused at once; the workers are killed, others take their place; all are resumed, each by two at the
 * same time; and as many have their time end while nothing runs at all:
 *
 *     npm run torture:pauses [-- RUNS]
 */
const runs = Number(process.argv[2] ?? 10_000)
const { withDatabase, stop } = await openServer()
const wrong = await withDatabase((databaseUrl) => pauseMany({ databaseUrl, runs, terminal: processTerminal(process) }))
await stop()
for (const line of wrong) process.stdout.write(`WRONG ${line}\n`)
process.stdout.write(wrong.length === 0 ? `all promises held over ${runs} paused runs\n` : 'promises were broken\n')
process.exitCode = wrong.length === 0 ? 0 : 1
