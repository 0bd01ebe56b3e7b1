import { expect, it } from 'vitest'
import { createDatabase, describeOnPostgres } from '../support/servers.ts'
import { killWorkers } from '../torture/kill-workers.ts'

/** On each version of PostgreSQL. */
const KILLS = 10

describeOnPostgres('workers that are killed', (server) => {
  it(`at ${KILLS} random moments lose no run, no step and no event, and show no half-ended run`, {
    timeout: 300_000,
  }, async ({ annotate }) => {
    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
    const { url, drop } = await createDatabase(server)
    const { wrong, ...report } = await killWorkers({ databaseUrl: url, kills: KILLS, seed })
    await drop()
    await annotate(
      `SEED=${seed}: ${report.runs} runs, ${report.resumed} resumed, ${report.eager} eager, ${report.observations} looks`,
    )
    expect(wrong, `SEED=${seed}`).toEqual([])
    expect(report.resumed).toBeGreaterThan(0)
    expect(report.eager).toBeGreaterThan(0)
    expect(report.observations).toBeGreaterThan(KILLS)
  })
})
