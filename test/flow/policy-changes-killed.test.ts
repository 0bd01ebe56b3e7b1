import { expect, it } from 'vitest'
import { createDatabase, describeOnPostgres } from '../support/servers.ts'
import { changePolicies } from '../torture/change-policies.ts'

/** On each version of PostgreSQL; `npm run torture:policies` has the long form. */
const SIZE = { runs: 2, kills: 2, workers: 2 }

describeOnPostgres('runs whose policies change while their workers are killed', (server) => {
  it('end as the mode of the policy says, each told once of the versions before and after', {
    timeout: 180_000,
  }, async ({ annotate }) => {
    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
    const { url, drop } = await createDatabase(server)
    const { wrong, ...report } = await changePolicies({ databaseUrl: url, seed, ...SIZE })
    await drop()
    await annotate(`SEED=${seed}: ${JSON.stringify(report)}`)
    expect(wrong, `SEED=${seed}`).toEqual([])
    expect(report.resumed).toBe(3 * SIZE.runs)
    expect(report.workersLost, `SEED=${seed}`).toBeGreaterThan(0)
  })
})
