import { randomBytes } from 'node:crypto'
import { showProgress } from '../../src/surface/cli/progress.ts'
import { processTerminal } from '../../src/surface/cli/terminal.ts'
import { openServer } from './database.ts'
import { spendUnderBudgets } from './spend-under-budgets.ts'

/*
 * `npm run torture:budgets`: thousands of interleavings of runs that share budgets at random levels, on workers that are
 * killed, the ledger looked at all the while. RUNS and SEED are taken from the environment. In rounds, each with budgets
 * of its own on a new database, so that one that goes wrong is found early and small.
 */
const RUNS_A_ROUND = 120
const KILLS_A_ROUND = 4

const runs = Number(process.env.RUNS ?? 5_000)
const seed = Number(process.env.SEED ?? randomBytes(4).readUInt32BE())
const rounds = Math.ceil(runs / RUNS_A_ROUND)
const terminal = processTerminal(process)

terminal.out(`SEED=${seed} RUNS=${runs}`)
const { withDatabase, stop } = await openServer()
let wrong: readonly string[] = []
let done = 0
const hide = showProgress(terminal, () => ({
  share: done / rounds,
  done: done * RUNS_A_ROUND,
  text: `round ${done + 1}`,
}))
for (; done < rounds && wrong.length === 0; done++) {
  const roundSeed = seed + done
  const report = await withDatabase((databaseUrl) => {
    return spendUnderBudgets({ databaseUrl, seed: roundSeed, runs: RUNS_A_ROUND, kills: KILLS_A_ROUND })
  }).catch((error) => ({ wrong: [String(error)] }))
  terminal.err(`SEED=${roundSeed}: ${JSON.stringify(report)}`)
  wrong = report.wrong
}
hide()
await stop()
for (const line of wrong) terminal.out(`WRONG ${line}`)
terminal.out(
  wrong.length === 0
    ? `no budget was overspent over ${done * RUNS_A_ROUND} runs`
    : `promises were broken; SEED=${seed + done - 1} RUNS=${RUNS_A_ROUND} shows it again`,
)
process.exitCode = wrong.length === 0 ? 0 : 1
