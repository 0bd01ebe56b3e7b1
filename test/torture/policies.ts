import { randomBytes } from 'node:crypto'
import { processTerminal } from '../../src/surface/cli/terminal.ts'
import { changePolicies } from './change-policies.ts'
import { openServer } from './database.ts'

/*
 * `npm run torture:policies`: runs under each mode of a policy, which is changed, disabled and deleted on the way, on
 * workers that are killed. ROUNDS and SEED are taken from the environment.
 */
const rounds = Number(process.env.ROUNDS ?? 10)
const seed = Number(process.env.SEED ?? randomBytes(4).readUInt32BE())
const terminal = processTerminal(process)

terminal.out(`SEED=${seed} ROUNDS=${rounds}`)
const { withDatabase, stop } = await openServer()
let wrong: readonly string[] = []
let done = 0
for (; done < rounds && wrong.length === 0; done++) {
  const report = await withDatabase((databaseUrl) => {
    return changePolicies({ databaseUrl, seed: seed + done, runs: 20, kills: 8, workers: 3 })
  }).catch((error) => ({ wrong: [String(error)] }))
  terminal.err(`SEED=${seed + done}: ${JSON.stringify(report)}`)
  wrong = report.wrong
}
await stop()
for (const line of wrong) terminal.out(`WRONG ${line}`)
terminal.out(
  wrong.length === 0
    ? `all runs ended as their modes say, ${done} rounds`
    : `SEED=${seed + done - 1} ROUNDS=1 shows it again`,
)
process.exitCode = wrong.length === 0 ? 0 : 1
