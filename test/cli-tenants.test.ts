import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defineAgent } from '../src/index.ts'
import { createTestRuntime, type TestRuntime } from '../src/testing/testing.ts'
import { Gates } from './flow/support/gate.ts'
import { cliOn } from './support/cli-in-process.ts'
import { sharedSnapshot } from './support/embedded.ts'
import type { CliResult } from './support/run-cli.ts'

const gates = new Gates()
const holds = defineAgent({
  name: 'holds',
  version: '1',
  run: ({ step, run, signal }) => step.do('hold', () => gates.at(run.runId).pass(signal)),
})

let runtime: TestRuntime
let cli: (...args: string[]) => Promise<CliResult>
beforeAll(async () => {
  runtime = await createTestRuntime({ agents: [holds], snapshot: await sharedSnapshot() })
  // A command ends with its session, the worker of this process goes on.
  cli = cliOn({ ...runtime.concordat, stop: async () => {} })
})
afterAll(() => runtime.close())

async function held(tenant: string): Promise<string> {
  const { runId } = await runtime.runs.submit({ tenant, agent: 'holds' })
  await gates.at(runId).reached
  return runId
}
const json = ({ out }: CliResult) => JSON.parse(out)

describe('the command line stops', () => {
  test('nothing unless it is said what', async () => {
    for (const args of [[], ['--all', '--agent', 'holds'], ['01a20000-0000-7000-8000-000000000000', '--all']]) {
      const result = await cli('runs', 'stop', ...args)
      expect([result.code, result.err]).toEqual([2, expect.stringContaining('--all')])
    }
  })

  test('runs by their ids, and says how it went', async () => {
    const [first, second] = [await held('default'), await held('default')]
    const one = await cli('runs', 'stop', first, '--by', 'eve', '--as', 'TENANT_USER', '--why', 'enough')
    expect(one).toMatchObject({
      code: 0,
      out: expect.stringMatching(/is cancelled: delivered after .*, confirmed after/),
    })
    expect((await cli('runs', 'get', first)).out).toMatch(/requested by eve as TENANT_USER \(enough\)/)
    expect(await cli('runs', 'stop', second, '--as', 'SYSTEM_AUTO')).toMatchObject({ code: 2 })
    const unknown = '01a20000-0000-7000-8000-000000000000'
    const two = await cli('runs', 'stop', second, unknown, '--json')
    expect([two.code, json(two)]).toMatchObject([
      1,
      { runs: [{ runId: second, result: 'cancelled' }], errors: [expect.stringContaining(unknown)] },
    ])
  })

  test('all runs of an agent, with counts', async () => {
    await cli('tenants', 'create', 'many')
    for (let i = 0; i < 3; i++) await held('many')
    const result = await cli('runs', 'stop', '--agent', 'holds', '--tenant', 'many')
    expect(result).toMatchObject({ code: 0, out: '3 stops requested, 3 delivered, 3 confirmed.\n' })
    expect(json(await cli('runs', 'stop', '--all', '--tenant', 'many', '--json'))).toMatchObject({ requested: 0 })
  })
})

describe('the command line suspends', () => {
  test('a tenant, shows it, and lets it in again', async () => {
    expect((await cli('tenants', 'create', 'acme', '--max-running', '5')).code).toBe(0)
    expect(await cli('tenants', 'create', 'acme')).toMatchObject({ code: 1, err: expect.stringContaining('acme') })
    await held('acme')
    const args = ['acme', '--by', 'eve', '--why', 'unpaid']
    expect((await cli('tenants', 'suspend', ...args)).out).toBe(
      'Tenant acme is suspended. 1 stop requested, 1 delivered, 1 confirmed.\n',
    )
    expect((await cli('tenants', 'suspend', ...args)).out).toContain('was suspended before')
    expect((await cli('tenants', 'list')).out).toMatch(/acme +suspended +0 +0 +0 .*by eve: unpaid/)
    for (const verb of ['suspend', 'resume']) {
      const refused = await cli('tenants', verb, 'acme', '--as', 'TENANT_ADMIN')
      expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('only OPERATOR may') })
    }
    expect((await cli('tenants', 'resume', 'acme')).out).toBe('Tenant acme is active again.\n')
    expect(json(await cli('tenants', 'list', '--json')).tenants).toContainEqual(
      expect.objectContaining({ tenantId: 'acme', status: 'active', maxRunning: 5, suspension: null }),
    )
    expect((await cli('tenants', 'resume', 'nobody')).code).toBe(2)
  })
})
