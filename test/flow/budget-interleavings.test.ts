import { expect, it } from 'vitest'
import { createDatabase, describeOnPostgres } from '../support/servers.ts'
import { spendUnderBudgets } from '../torture/spend-under-budgets.ts'

/** On each version of PostgreSQL; `npm run torture:budgets` has the long form. */
const SIZE = { runs: 40, kills: 2, workers: 2 }

describeOnPostgres('budgets shared by runs of several workers that are killed', (server) => {
  it('are never overspent but by a recorded overrun, at any moment, and nothing stays reserved', {
    timeout: 240_000,
  }, async ({ annotate }) => {
    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
    const { url, drop } = await createDatabase(server)
    const { wrong, ...report } = await spendUnderBudgets({ databaseUrl: url, seed, ...SIZE })
    await drop()
    await annotate(`SEED=${seed}: ${JSON.stringify(report)}`)
    expect(wrong, `SEED=${seed}`).toEqual([])
    expect(report.runs - report.children).toBe(SIZE.runs)
    expect(report.children, `SEED=${seed}`).toBeGreaterThan(0)
    expect(report.refused, `SEED=${seed}`).toBeGreaterThan(0)
    expect(report.observations, `SEED=${seed}`).toBeGreaterThan(SIZE.kills)
  })
})
