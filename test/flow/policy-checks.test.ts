import { beforeAll, expect, it } from 'vitest'
import { Expressions } from '../../src/domains/policies/policies.ts'
import { readCheckFacts } from '../../src/flow/execution/check-facts-store.ts'
import { silentLogger } from '../../src/foundation/log.ts'
import { createMetrics } from '../../src/foundation/metrics.ts'
import { defineAgent, MidExecutionPolicyChecker, type PolicyInput } from '../../src/index.ts'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'
import { Gates } from './support/gate.ts'

let gates = new Gates()

const spends = defineAgent<string>({
  name: 'spends',
  version: '1',
  async run({ input, step }) {
    const used = { tokensIn: 700, tokensOut: 300, costUsd: 0.3 }
    await step.record({ kind: 'llm', name: 'ask', input: 'q', output: 'a', ...used })
    await step.record({ kind: 'tool', name: 'search', input: 'q', output: 'a' })
    await step.do('wait', ({ signal }) => gates.at(input).pass(signal), { sideEffects: false })
  },
})

describeOnDatabases('a check of a run that is under way', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    gates = new Gates()
    runtime = await open({ agents: [spends] })
  })

  let tenants = 0
  /** A run between its second and third step, and what a check says before the third. */
  const underWay = async (...policies: PolicyInput[]) => {
    const tenantId = `checks-${++tenants}`
    await runtime.concordat.tenants.put({ tenantId })
    await runtime.concordat.policies.apply(tenantId, policies)
    const run = await runtime.runs.submit({ tenant: tenantId, agent: 'spends', input: tenantId })
    await gates.at(tenantId).reached
    const checker = new MidExecutionPolicyChecker({
      enabled: true,
      intervalMs: 0,
      minSteps: 1,
      onError: 'pause',
      muted: false,
      readFacts: async () => (await readCheckFacts(runtime.database, [run], new Expressions())).get(run.runId)!,
      clock: { now: () => new Date() },
      log: silentLogger,
      metrics: createMetrics(),
    })
    const check = async () => {
      const result = await checker.checkBeforeStep({ kind: 'tool', name: 'clean', tool: 'shell' })
      const versions = result.violations.map(({ previousVersion, policyVersion }) => [previousVersion, policyVersion])
      return [result.decision, ...result.violations.map(({ type }) => type), ...versions]
    }
    const apply = (list: PolicyInput[], prune = false) => runtime.concordat.policies.apply(tenantId, list, { prune })
    return { tenantId, run, check, apply, end: () => gates.at(tenantId).open() }
  }

  it('sees what was used so far, in one statement', async () => {
    const limit: PolicyInput = { name: 'tools', metric: 'tool_calls', max: 1 }
    const asks: PolicyInput = { name: 'asks', when: 'step.tool == "shell" && run.cost_usd >= 0.3', effect: 'pause' }
    const { check, end, run } = await underWay(limit, asks, { name: 'steps', metric: 'steps', max: 3 })
    const sent: string[] = []
    const remove = runtime.database.intercept(
      ({ statement }) => void (statement.startsWith('policy_') && sent.push(statement)),
    )
    expect(await check()).toEqual(['TERMINATE', 'BUDGET_EXCEEDED', 'BUDGET_EXCEEDED', [1, 1], [1, 1]])
    remove()
    expect(sent).toEqual(['policy_check_facts'])
    end()
    await runtime.ended(run)
  })

  it('sees a change since the run started, with both versions, by the mode that it started under', async () => {
    const limit = (name: string, onChange: 'pause' | 'live' | 'pinned', max: number): PolicyInput => {
      return { name, metric: 'tokens', max, onChange }
    }
    const { check, apply, end, run } = await underWay(
      limit('a', 'pause', 9_000),
      limit('b', 'live', 9_000),
      limit('c', 'pinned', 9_000),
    )
    expect(await check()).toEqual(['CONTINUE'])
    await apply([limit('c', 'pinned', 1)])
    expect(await check()).toEqual(['CONTINUE'])
    await apply([limit('a', 'pause', 8_000)])
    expect(await check()).toEqual(['PAUSE', 'LIMIT_CHANGED', [1, 2]])
    await apply([limit('b', 'live', 1)])
    expect(await check()).toEqual(['TERMINATE', 'LIMIT_CHANGED', 'BUDGET_EXCEEDED', [1, 2], [1, 2]])
    await apply([], true)
    expect(await check()).toEqual(['PAUSE', 'POLICY_DISABLED', [1, null]])
    end()
    await runtime.ended(run)
  })

  it('sees a policy that was disabled', async () => {
    const limit: PolicyInput = { name: 'a', metric: 'tokens', max: 9_000 }
    const { check, apply, end, run } = await underWay(limit)
    await apply([{ ...limit, enabled: false }])
    expect(await check()).toEqual(['PAUSE', 'POLICY_DISABLED', [1, null]])
    end()
    await runtime.ended(run)
  })

  it('sees the tenant suspended, and a stop', async () => {
    const { check, tenantId, end, run } = await underWay()
    await runtime.concordat.tenants.setStatus(tenantId, 'suspended')
    expect(await check()).toEqual(['TERMINATE', 'TENANT_SUSPENDED', [null, null]])
    await runtime.concordat.tenants.setStatus(tenantId, 'active')
    expect(await check()).toEqual(['CONTINUE'])
    await runtime.database.query(
      `update concordat.runs set stop = '{"by": "ann", "why": "enough", "requestedAt": "2026-01-01T00:00:00Z"}' where run_id = $1`,
      [run.runId],
    )
    expect(await check()).toEqual(['TERMINATE', 'MANUAL_STOP', [null, null]])
    await runtime.database.query('update concordat.runs set stop = null where run_id = $1', [run.runId])
    end()
    await runtime.ended(run)
  })

  it('that can’t be made is an error of the check', async () => {
    const { check, end, run } = await underWay({
      name: 'day',
      metric: 'tokens',
      max: 1,
      scope: 'tenant',
      window: 'day',
    })
    expect(await check()).toEqual(['PAUSE'])
    end()
    await runtime.ended(run)
  })
})
