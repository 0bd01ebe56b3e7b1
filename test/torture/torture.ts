import { randomBytes } from 'node:crypto'
import { query, startServers } from '../support/start-servers.ts'
import { killWorkers } from './kill-workers.ts'

/*
 * `npm run torture`: kills workers 500 times while they execute runs, and freezes some, then checks that nothing is
 * lost, nothing ran twice and no half-ended run was ever to be seen. KILLS and SEED are taken from the environment. Kills
 * in rounds, each on a new database, so that one that goes wrong is found early and small.
 */
const KILLS_A_ROUND = 50
const ROUND_MS_MAX = 600_000

const kills = Number(process.env.KILLS ?? 500)
const seed = Number(process.env.SEED ?? randomBytes(4).readUInt32BE())
const say = (line: string) => process.stdout.write(`${line}\n`)

async function round(
  url: string,
  killsNow: number,
  killedBefore: number,
  roundSeed: number,
): Promise<readonly string[]> {
  const onKill = (killed: number, runs: number) => {
    if (killed % 10 === 0) say(`${killedBefore + killed} of ${kills} kills, ${runs} runs in this round`)
  }
  const tooLong = setTimeout(() => {
    say(`a round took longer than ${ROUND_MS_MAX / 1_000} s; SEED=${seed}`)
    process.exit(1)
  }, ROUND_MS_MAX)
  const report = await killWorkers({ databaseUrl: url, kills: killsNow, seed: roundSeed, onKill })
  clearTimeout(tooLong)
  say(
    `${report.runs} runs, ${report.resumed} resumed after a kill, ${report.eager} started with their submission, ${report.observations} looks, ${report.wrong.length} wrong`,
  )
  return report.wrong
}

say(`SEED=${seed} KILLS=${kills}`)
const { servers, stop } = await startServers(process.env)
const server = servers.postgres[0]
if (!server) {
  say(`no PostgreSQL: ${servers.missing.map(({ reason }) => reason).join('; ')}`)
  process.exit(1)
}
let wrong: readonly string[] = []
for (let killed = 0, n = 0; killed < kills && wrong.length === 0; n++) {
  const now = Math.min(KILLS_A_ROUND, kills - killed)
  const name = `${servers.databasePrefix}torture_${n}`
  await query(server.url, `create database ${name}`)
  const url = new URL(server.url)
  url.pathname = name
  wrong = await round(url.href, now, killed, seed + n)
  await query(server.url, `drop database ${name} with (force)`)
  killed += now
}
await stop()
for (const line of wrong) say(`WRONG ${line}`)
say(wrong.length === 0 ? `all promises held over ${kills} kills` : `promises were broken; SEED=${seed} shows it again`)
process.exitCode = wrong.length === 0 ? 0 : 1
