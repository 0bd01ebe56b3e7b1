import { beforeAll, expect, it } from 'vitest'
import { defineAgent, type PolicyInput } from '../../src/index.ts'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'

const works = defineAgent({
  name: 'works',
  version: '1',
  async run({ step }) {
    await step.record({
      kind: 'llm',
      name: 'ask',
      input: 'q',
      output: 'a',
      tokensIn: 700,
      tokensOut: 300,
      costUsd: 0.3,
    })
    await step.record({ kind: 'tool', name: 'search', input: 'q', output: 'a' })
  },
})
const guesses = defineAgent({
  name: 'guesses',
  version: '1',
  run: ({ step }) => step.record({ kind: 'llm', name: 'ask', input: 'q', output: 'a', tokensIn: 1, tokensOut: 1 }),
})

describeOnDatabases('the policies of a tenant', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    runtime = await open({ agents: [works, guesses] })
  })

  let tenants = 0
  const newTenant = async () => {
    const tenantId = `policies-${++tenants}`
    await runtime.concordat.tenants.put({ tenantId })
    return tenantId
  }
  const api = () => runtime.concordat.policies
  const inForce = async (tenantId: string) => {
    return (await api().list(tenantId)).map(({ name, version }) => `${name}@${version}`)
  }
  const run = async (tenant: string, agent = 'works') => {
    return runtime.ended(await runtime.runs.submit({ tenant, agent }))
  }

  const cost = (max: number): PolicyInput => ({ name: 'cost', metric: 'cost_usd', max })
  const tools: PolicyInput = { name: 'tools', when: 'run.tool_calls > 0' }

  it('get a version for each change; what is unchanged keeps its own', async () => {
    const own = await newTenant()
    const changes = async (...policies: PolicyInput[]) => {
      return (await api().apply(own, policies)).map(({ name, change, version }) => `${change} ${name}@${version}`)
    }
    expect(await changes(cost(1), tools)).toEqual(['created cost@1', 'created tools@1'])
    expect(await changes(cost(1), tools)).toEqual(['unchanged cost@1', 'unchanged tools@1'])
    expect(await changes(cost(2), tools)).toEqual(['changed cost@2', 'unchanged tools@1'])
    expect(await changes(cost(1))).toEqual(['changed cost@3'])
    expect(await inForce(own)).toEqual(['cost@3', 'tools@1'])
    const versions = await api().get(own, 'cost')
    expect(
      versions.map(({ version, active, definition }) => [version, active, (definition as { max: number }).max]),
    ).toEqual([
      [3, true, 1],
      [2, false, 2],
      [1, false, 1],
    ])
    expect(versions[1]?.retiredAt).toEqual(versions[0]?.createdAt)
  })

  it('are removed with prune, and come back with their next version', async () => {
    const own = await newTenant()
    await api().apply(own, [cost(1), tools])
    expect(await api().apply(own, [cost(1)], { prune: true })).toMatchObject([
      { name: 'cost', change: 'unchanged' },
      { name: 'tools', change: 'removed', version: 1 },
    ])
    expect(await inForce(own)).toEqual(['cost@1'])
    await api().apply(own, [tools])
    expect(await inForce(own)).toEqual(['cost@1', 'tools@2'])
    await expect(api().get(own, 'none')).rejects.toMatchObject({ code: 'POLICY_NOT_FOUND' })
  })

  it('stay as they were when one of many is refused', async () => {
    const own = await newTenant()
    await api().apply(own, [cost(1)])
    await expect(api().apply(own, [cost(2), { name: 'bad', when: 'run.steps >' }])).rejects.toMatchObject({
      code: 'INVALID_POLICY',
    })
    await expect(api().apply('nobody', [cost(1)])).rejects.toMatchObject({ code: 'UNKNOWN_TENANT' })
    expect(await inForce(own)).toEqual(['cost@1'])
    const many = Array.from({ length: 200 }, (_, i): PolicyInput => ({ name: `p${i}`, metric: 'steps', max: 1 }))
    await expect(api().apply(own, many)).rejects.toThrow('would have 201 policies')
    expect(await inForce(own)).toEqual(['cost@1'])
  })

  it('stay as they were when a write of many is refused by the database', async () => {
    const own = await newTenant()
    await api().apply(own, [cost(1)])
    const agree = runtime.database.intercept(({ statement }) => {
      if (statement.includes('insert into concordat.policies ')) throw new Error('no room')
    })
    await expect(api().apply(own, [cost(2)])).rejects.toThrow('no room')
    agree()
    expect(await inForce(own)).toEqual(['cost@1'])
  })

  it('are applied one after the other by two at the same time', async () => {
    const own = await newTenant()
    const applied = await Promise.all([1, 2, 3, 4, 5].map((max) => api().apply(own, [cost(max)])))
    expect(applied.map(([change]) => change?.version).toSorted()).toEqual([1, 2, 3, 4, 5])
    expect(await inForce(own)).toEqual(['cost@5'])
  })

  it('are those of the tenant alone', async () => {
    const [own, other] = [await newTenant(), await newTenant()]
    await api().apply(other, [cost(0)])
    expect(await inForce(own)).toEqual([])
    expect((await run(own)).status).toBe('succeeded')
  })

  it.each([
    ['a condition that holds', tools, 'failed_policy', 'VIOLATION'],
    ['one that does not', { ...tools, when: 'run.cost_usd > 0.3 || run.steps > 2' }, 'succeeded', 'NO_VIOLATION'],
    ['a limit on tool calls', { name: 'tools', metric: 'tool_calls', max: 0 }, 'failed_policy', 'VIOLATION'],
    ['a limit on time', { name: 't', metric: 'wall_clock_seconds', max: 0 }, 'failed_policy', 'VIOLATION'],
    ['one that is disabled', { ...tools, enabled: false }, 'succeeded', 'NOT_APPLICABLE'],
    ['one that warns', { ...tools, effect: 'warn' }, 'succeeded', 'ADVISORY'],
  ] as [string, PolicyInput, string, string][])(
    'are held against a run: %s',
    async (_which, policy, status, outcome) => {
      const own = await newTenant()
      await api().apply(own, [policy])
      const ended = await run(own)
      expect([ended.status, ended.evaluation?.verdict.outcome]).toEqual([status, outcome])
      if (status === 'failed_policy') expect(ended.incident?.message).toContain(policy.name)
    },
  )

  it('that ask for the next step, or add up what is not counted, are not taken as met', async () => {
    const own = await newTenant()
    const shell: PolicyInput = { name: 'shell', when: 'step.tool == "shell"' }
    await api().apply(own, [shell, { name: 'day', metric: 'tokens', max: 1, scope: 'api_key', window: 'day' }])
    const { verdict } = (await run(own)).evaluation ?? {}
    expect(verdict?.outcome).toBe('NOT_APPLICABLE')
    expect(verdict?.findings).toMatchObject([
      { name: 'day', met: null, note: expect.stringContaining('not evaluated') },
      { name: 'shell', met: null, note: expect.stringContaining('not evaluated') },
    ])
    const rows = await runtime.database.query<{ violations: unknown[] }>(
      'select violations from concordat.policy_evaluations where tenant_id = $1',
      [own],
    )
    expect(rows).toEqual([{ violations: [] }])
  })

  it('can refuse a run whose cost nobody knows; asking for that cost never means allowed', async () => {
    const [strict, lenient] = [await newTenant(), await newTenant()]
    await api().apply(strict, [{ name: 'cheap', when: 'run.cost_usd > 100.0' }])
    await api().apply(lenient, [{ name: 'cheap', when: 'has(run.cost_usd) && run.cost_usd > 100.0' }])
    const refused = await run(strict, 'guesses')
    expect(refused.status).toBe('failed_policy')
    expect(refused.evaluation?.verdict.findings).toMatchObject([
      { met: false, note: expect.stringContaining('No such key: cost_usd') },
    ])
    expect((await run(lenient, 'guesses')).status).toBe('succeeded')
    expect((await run(strict)).status).toBe('succeeded')
  })
})
