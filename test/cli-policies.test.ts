import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defineAgent } from '../src/index.ts'
import type { TestRuntime } from '../src/testing/testing.ts'
import { describeOnDatabases } from './flow/support/databases.ts'
import { cliOn, cliWithoutRuntime } from './support/cli-in-process.ts'
import { type CliResult, runCli } from './support/run-cli.ts'

const folder = mkdtempSync(join(tmpdir(), 'concordat-policies-'))
afterAll(() => rmSync(folder, { recursive: true }))

let files = 0
function file(text: string): string {
  const path = join(folder, `policies-${++files}.yaml`)
  writeFileSync(path, text)
  return path
}

const json = ({ out }: CliResult) => JSON.parse(out)
const error = ({ err }: CliResult) => JSON.parse(err).error

const GOOD = `policies:
  - name: max-cost
    metric: cost_usd
    max: 0.5
  - name: tools
    when: run.tool_calls > 2
    effect: warn
`
const BAD = `policies:
  - name: max-cost
    metric: cost
    max: -1
  - name: max-cost
    when: 'run.agent.matches("(a+)+$")'
  - name: typo
    when: |
      run.steps > 1 &&
        run.cost_used > 0.5
`

const spends = defineAgent<number>({
  name: 'spends',
  version: '1',
  run: ({ input: costUsd, step }) =>
    step.record({ kind: 'llm', name: 'ask', input: 'q', output: 'a', tokensIn: 7, tokensOut: 3, costUsd }),
})

describe('policies lint', () => {
  test('shows each problem at its line with a caret, needs no database, and ends with 1', async () => {
    const path = file(BAD)
    const { code, out } = await runCli(['policies', 'lint', path], { cwd: folder })
    expect(code).toBe(1)
    expect(out).toContain(`${path}:3:13  metric: "cost" is not one of cost_usd, tokens`)
    expect(out).toContain('  3 |     metric: cost\n    |             ^^^^\n')
    expect(out).toContain(`${path}:4:10  max is negative`)
    expect(out).toContain(`${path}:5:11  the name "max-cost" is there twice`)
    expect(out).toContain(`    when: 'run.agent.matches("(a+)+$")'\n    |            ^^^`)
    expect(out).toContain('hint  Use matchesRe2("pattern")')
    expect(out).toContain(' 10 |         run.cost_used > 0.5\n     |             ^^^^^^^^^\n')
    expect(out).toContain('5 problems')
  })

  test('is content with a good file, also from standard input and as JSON', async () => {
    const fine = await runCli(['policies', 'lint', '-'], { cwd: folder, input: GOOD })
    expect(fine).toMatchObject({ code: 0, out: '2 policies, no problems\n' })
    const told = json(await cliWithoutRuntime()('policies', 'lint', file(GOOD), '--json'))
    expect(told).toMatchObject({ policies: 2, findings: [] })
  })

  test('refuses a file that is not there, and one that is too large', async () => {
    const cli = cliWithoutRuntime()
    const missing = await cli('policies', 'lint', join(folder, 'none.yaml'), '--json')
    expect([missing.code, error(missing).code]).toEqual([2, 'INVALID_REQUEST'])
    const large = await cli('policies', 'lint', file('#'.repeat(131_073)), '--json')
    expect([large.code, error(large).code]).toEqual([2, 'INPUT_TOO_LARGE'])
  })
})

describeOnDatabases('the commands on policies', (open) => {
  let cli: ReturnType<typeof cliOn>
  let runtime: TestRuntime
  beforeAll(async () => {
    runtime = await open({ agents: [spends] })
    cli = cliOn(runtime.concordat)
  })
  let tenants = 0
  const newTenant = async () => {
    const tenantId = `cli-${++tenants}`
    await runtime.concordat.tenants.put({ tenantId })
    return tenantId
  }
  const run = async (tenant: string, input: number) => {
    return runtime.ended(await runtime.runs.submit({ tenant, agent: 'spends', input }))
  }

  test('apply puts a file in force, list and get show it', async () => {
    const tenant = await newTenant()
    const applied = await cli('policies', 'apply', file(GOOD), '--tenant', tenant)
    expect(applied).toMatchObject({ code: 0, err: '' })
    expect(applied.out).toMatch(/created +max-cost +1 +cost_usd ≤ 0\.5/)
    expect(applied.out).toContain(`Tenant ${tenant}: 2 policies, 2 created`)
    const again = await cli('policies', 'apply', file(GOOD.replace('0.5', '0.4')), '--tenant', tenant, '--json')
    expect(json(again)).toEqual({
      tenant,
      changes: [
        { name: 'max-cost', change: 'changed', version: 2, previousVersion: 1 },
        { name: 'tools', change: 'unchanged', version: 1, previousVersion: 1 },
      ],
    })
    const { out } = await cli('policies', 'list', '--tenant', tenant)
    expect(out).toMatch(/max-cost +2 +cost_usd ≤ 0\.4 +terminate +pause +throughout/)
    expect(out).toMatch(/tools +1 +run\.tool_calls > 2 +warn/)
    expect(json(await cli('policies', 'list', '--tenant', tenant, '--json')).policies).toMatchObject([
      { name: 'max-cost', version: 2, metric: 'cost_usd', max: 0.4, held: 'throughout' },
      { name: 'tools', version: 1, when: 'run.tool_calls > 2', effect: 'warn' },
    ])
    expect((await cli('policies', 'get', 'max-cost', '--tenant', tenant)).out).toMatch(
      /2 .* now .*0\.4[\s\S]*1 .* UTC .*0\.5/,
    )
    const versions = json(await cli('policies', 'get', 'max-cost', '--tenant', tenant, '--json')).versions
    expect(versions.map(({ version, active }: { version: number; active: boolean }) => [version, active])).toEqual([
      [2, true],
      [1, false],
    ])
  })

  test('apply refuses a bad file with its places, and what was in force stays', async () => {
    const tenant = await newTenant()
    await cli('policies', 'apply', file(GOOD), '--tenant', tenant)
    const refused = await cli('policies', 'apply', file(BAD), '--tenant', tenant)
    expect(refused).toMatchObject({ code: 2, out: '' })
    expect(refused.err).toContain('  3 |     metric: cost\n    |             ^^^^\n')
    expect(refused.err).toContain('INVALID_POLICY')
    const asJson = error(await cli('policies', 'apply', file(BAD), '--tenant', tenant, '--json'))
    expect(asJson).toMatchObject({ code: 'INVALID_POLICY', details: { findings: expect.any(Array) } })
    expect(asJson.details.findings[0]).toMatchObject({ line: 3, column: 13 })
    const { policies } = json(await cli('policies', 'list', '--tenant', tenant, '--json'))
    expect(policies.map(({ version }: { version: number }) => version)).toEqual([1, 1])
  })

  test('apply with --prune removes what the file lacks; other tenants keep theirs', async () => {
    const [tenant, other] = [await newTenant(), await newTenant()]
    for (const each of [tenant, other]) await cli('policies', 'apply', file(GOOD), '--tenant', each)
    const { out } = await cli('policies', 'apply', file('policies: []'), '--prune', '--tenant', tenant)
    expect(out).toContain(`Tenant ${tenant}: 0 policies, 2 removed`)
    expect((await cli('policies', 'list', '--tenant', tenant)).out).toContain('has no policies')
    expect(json(await cli('policies', 'list', '--tenant', other, '--json')).policies).toHaveLength(2)
  })

  test('says which policies are held when, and which against no run', async () => {
    const path = file(
      [
        'policies:',
        '- {name: shell, when: step.tool == "shell"}',
        '- {name: off, when: "true", enabled: false}',
        '- {name: day, metric: tokens, max: 1, scope: tenant, window: day}',
        '- {name: key, metric: tokens, max: 1, scope: api_key, window: day}',
      ].join('\n'),
    )
    const tenant = await newTenant()
    const linted = await cli('policies', 'lint', path)
    expect(linted.err).toMatch(/MID_EXECUTION_POLICY_CHECK_ENABLED is off: shell, day, key\n/)
    await cli('policies', 'apply', path, '--tenant', tenant)
    const { out } = await cli('policies', 'list', '--tenant', tenant)
    expect(out).toMatch(/day .*before steps[\s\S]*key .*before steps[\s\S]*off .*disabled[\s\S]*shell .*before steps/)
  })

  test('usage shows what is used of each limit, by whom, the largest first', async () => {
    const path = file(
      [
        'policies:',
        '- {name: day, metric: cost_usd, max: 2, scope: tenant, window: day}',
        '- {name: each, metric: cost_usd, max: 1, scope: agent, window: month, effect: warn}',
        '- {name: key, metric: tokens, max: 40, scope: api_key, window: hour}',
        '- {name: key-of-agent, metric: tokens, max: 40, scope: api_key, window: hour, agent: spends}',
        '- {name: nobody, metric: tokens, max: 10, scope: tenant, window: day, agent: other}',
        '- {name: slow, metric: wall_clock_seconds, max: 10}',
      ].join('\n'),
    )
    const tenant = await newTenant()
    expect((await cli('policies', 'usage', '--tenant', tenant)).out).toContain('no limits in force that are budgets')
    await cli('policies', 'apply', path, '--tenant', tenant)
    await runtime.start() // each command stops it
    for (const apiKeyId of ['b', 'a', 'b']) {
      await runtime.ended(await runtime.runs.submit({ tenant, agent: 'spends', input: 0.4, apiKeyId }))
    }
    const { usage } = json(await cli('policies', 'usage', '--tenant', tenant, '--json'))
    const shown = usage.map((each: Record<string, unknown>) => [each.policy, each.subject, each.used, each.share])
    expect(shown).toEqual([
      ['day', 'tenant', 1.2, 0.6],
      ['each', 'agent/spends', 1.2, 1.2],
      ['key', 'key/b', 20, 0.5],
      ['key', 'key/a', 10, 0.25],
      ['key-of-agent', 'key/b/agent/spends', 20, 0.5],
      ['key-of-agent', 'key/a/agent/spends', 10, 0.25],
      ['nobody', null, 0, 0],
    ])
    const { out } = await cli('policies', 'usage', '--tenant', tenant, '--top', '1')
    expect(out).toMatch(/day +tenant +tenant +day +cost_usd +\$1\.20 +\$0\.00 +\$2\.00 +██████░░░░ +60 %\n/)
    expect(out).not.toContain('key/a')
    const none = await cli('policies', 'usage', '--tenant', 'nobody', '--json')
    expect([none.code, error(none).code]).toEqual([2, 'UNKNOWN_TENANT'])
  })

  test('unknown tenants and names are told', async () => {
    for (const command of [['list'], ['apply', file(GOOD)], ['simulate', file(GOOD)]]) {
      const result = await cli('policies', ...command, '--tenant', 'nobody', '--json')
      expect([result.code, error(result).code]).toEqual([2, 'UNKNOWN_TENANT'])
    }
    const none = await cli('policies', 'get', 'none', '--json')
    expect([none.code, error(none)]).toMatchObject([1, { code: 'POLICY_NOT_FOUND', next: 'concordat policies list' }])
    const tenant = await newTenant()
    const ofTenant = await cli('policies', 'get', 'none', '--tenant', tenant, '--json')
    expect(error(ofTenant)).toMatchObject({ next: `concordat policies list --tenant ${tenant}` })
  })

  test('simulate tells which verdicts would be others, and writes nothing', async () => {
    const tenant = await newTenant()
    await cli('policies', 'apply', file(GOOD), '--tenant', tenant)
    await runtime.start() // each command stops it
    const cheap = await run(tenant, 0.1)
    const dear = await run(tenant, 0.45)
    const over = await run(tenant, 0.9)
    expect([cheap, dear, over].map(({ status }) => status)).toEqual(['succeeded', 'succeeded', 'failed_policy'])

    await runtime.concordat.stop()
    const sent: string[] = []
    const remove = runtime.database.intercept(({ statement }) => void sent.push(statement))
    const tight = file(GOOD.replace('0.5', '0.4'))
    const simulated = json(await cli('policies', 'simulate', tight, '--tenant', tenant, '--json'))
    remove()
    expect(sent.length).toBeGreaterThan(0)
    expect(sent.filter((text) => /\b(insert|update|delete)\b/i.test(text))).toEqual([])
    expect(simulated).toMatchObject({ runs: 3, changed: [{ runId: dear.runId, before: 'NO_VIOLATION' }] })
    expect(simulated.changed[0].after).toMatchObject({ outcome: 'VIOLATION' })

    const { code, out } = await cli('policies', 'simulate', tight, '--tenant', tenant)
    expect(code).toBe(0)
    expect(out).toMatch(/NO_VIOLATION +VIOLATION +succeeded +failed_policy +max-cost/)
    expect(out).toContain('1 of 3 verdicts would be others')

    const loose = await cli('policies', 'simulate', file('policies: []'), '--prune', '--tenant', tenant, '--limit', '2')
    expect(loose.out).toMatch(/VIOLATION +NOT_APPLICABLE +failed_policy /) // refused on its way: how it would have ended nobody knows
    expect(loose.out).toContain('2 of 2 verdicts')
    expect((await cli('policies', 'simulate', file(BAD), '--tenant', tenant)).code).toBe(2)
    expect(json(await cli('policies', 'list', '--tenant', tenant, '--json')).policies[0].version).toBe(1)
  })
})
