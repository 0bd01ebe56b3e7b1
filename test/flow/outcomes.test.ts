import { beforeAll, describe, expect, it } from 'vitest'
import { defineAgent } from '../../src/index.ts'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'
import {
  endingOf,
  eventCounts,
  eventsOfEnded,
  FIVE_ACKS,
  successAcks,
  WALK_TO_COMPLETED,
  WALK_TO_FAILED,
  walked,
} from './support/footprint.ts'
import { Gates } from './support/gate.ts'

/** Of the suite that runs: the next one, on another database, begins anew. */
let gates = new Gates()

const works = defineAgent({ name: 'works', version: '1', run: ({ step }) => step.do('answer', () => 42) })

const fails = defineAgent({
  name: 'fails',
  version: '1',
  async run({ step }) {
    await step.do('answer', () => 42)
    throw new Error('it does not add up')
  },
})

const copes = defineAgent({
  name: 'copes',
  version: '1',
  async run({ step }) {
    const fail = () => Promise.reject(new TypeError('not today'))
    return step.do('try', fail).catch((error: Error) => `without: ${error.message}`)
  },
})

const skips = defineAgent({
  name: 'skips',
  version: '1',
  plan: {
    steps: [
      { skill: 'json_transform', name: 'bad', params: { expression: '$error("no")', input: {} }, optional: true },
      { skill: 'json_transform', name: 'good', params: { expression: '1 + 1', input: {} } },
    ],
  },
})

/** One step, then it waits at the gate that its input names. */
const waits = defineAgent<string>({
  name: 'waits',
  version: '1',
  async run({ input, step, signal }) {
    await step.do('first', () => 1)
    await gates.at(input).pass(signal)
  },
})

/** Beyond its deadline: `input` says whether a step is under way then. */
const lingers = defineAgent<string>({
  name: 'lingers',
  version: '1',
  timeoutSeconds: 1,
  async run({ input, step, signal }) {
    await step.do('first', () => 1)
    if (input === 'in a step') await step.do('second', (context) => gates.at('never').pass(context.signal))
    await gates.at('never').pass(signal)
  },
})

const spends = defineAgent({
  name: 'spends',
  version: '1',
  async run({ step }) {
    const used = { tokensIn: 700, tokensOut: 300, costUsd: 0.3 }
    await step.record({ kind: 'llm', name: 'ask', input: 'q', output: 'a', ...used })
  },
})

const agents = [works, fails, copes, skips, lingers, waits, spends]

describeOnDatabases('how a run ends', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    gates = new Gates()
    const authorize = ({ metadata }: { metadata: unknown }) => metadata !== 'forbidden' || 'it is forbidden'
    runtime = await open({ agents, authorize })
  })

  const submit = async (agent: string, request: object = {}) => {
    return runtime.runs.submit({ tenant: 'default', agent, ...request })
  }
  const run = async (agent: string, request: object = {}) => runtime.ended(await submit(agent, request))
  const tenant = async (tenantId: string, limits: object = {}) => {
    await runtime.concordat.tenants.put({ tenantId, ...limits })
    return tenantId
  }

  it('well: SUCCESS, COMPLETE, run.completed, five acks, every phase once', async () => {
    const ended = await run('works')
    expect(endingOf(ended)).toEqual({
      status: 'succeeded',
      phase: 'COMPLETED',
      reason: null,
      incident: 'SUCCESS',
      evaluation: 'NOT_APPLICABLE',
      trace: 'COMPLETE',
      event: 'run.completed',
    })
    expect(ended.output).toBe(42)
    expect(ended.incident?.status).toBe('closed')
    expect(successAcks(ended)).toEqual(FIVE_ACKS)
    expect(walked(ended)).toEqual(WALK_TO_COMPLETED)
    expect(ended.transitions.every(({ at, why }) => !Number.isNaN(Date.parse(at)) && why.length > 0)).toBe(true)
    expect(eventCounts(ended)).toEqual(eventsOfEnded('run.completed'))
    expect(ended.observability).toBe('FULL')
    expect(ended.expectations.map((each) => each.status)).toEqual(Array(5).fill('ACKED'))
    expect((await runtime.concordat.audit.reconcile('default', ended.runId)).result).toBe('COMPLETE')
  })

  it('its events are published in order, each at its own position', async () => {
    const handle = await submit('works')
    await runtime.heard('run.completed', handle)
    const heard = runtime.heardOf(handle)
    const order = [
      'run.created',
      'run.started',
      'trace.started',
      'incident.created',
      'policy.evaluated',
      'trace.completed',
    ]
    expect(heard.map((event) => event.type)).toEqual([...order, 'run.completed'])
    const positions = heard.map((event) => event.position)
    expect(positions).toEqual([...new Set(positions)].toSorted((a, b) => a - b))
  })

  it.each([['copes'], ['skips']])('with a failed optional step (%s): PARTIAL, and still succeeded', async (agent) => {
    const ended = await run(agent)
    expect(endingOf(ended)).toMatchObject({
      status: 'succeeded',
      phase: 'COMPLETED',
      incident: 'PARTIAL',
      trace: 'COMPLETE',
    })
    expect(successAcks(ended)).toEqual(FIVE_ACKS)
  })

  it('by an error of the agent: FAILURE, COMPLETE, run.failed, with the error', async () => {
    const ended = await run('fails')
    expect(endingOf(ended)).toEqual({
      status: 'failed',
      phase: 'FAILED',
      reason: 'AGENT_FAILED',
      incident: 'FAILURE',
      evaluation: 'NOT_APPLICABLE',
      trace: 'COMPLETE',
      event: 'run.failed',
    })
    expect(ended.error).toMatchObject({ message: 'it does not add up' })
    expect(walked(ended)).toEqual(WALK_TO_FAILED)
    expect(successAcks(ended)).toEqual(FIVE_ACKS)
    expect(eventCounts(ended)).toEqual(eventsOfEnded('run.failed'))
    await expect(runtime.runs.result('default', ended.runId)).rejects.toThrow('it does not add up')
  })

  it.each([
    ['between steps', 'COMPLETE', 1],
    ['in a step', 'ABORTED', 2],
  ])('at its deadline %s: FAILURE, %s', async (where, trace, steps) => {
    const ended = await run('lingers', { input: where })
    expect(endingOf(ended)).toMatchObject({
      status: 'failed',
      reason: 'RUN_TIMEOUT',
      incident: 'FAILURE',
      trace,
      event: 'run.failed',
    })
    expect(ended.steps).toHaveLength(steps)
    expect(successAcks(ended)).toEqual(FIVE_ACKS)
  })

  describe('by a policy', () => {
    const apply = (tenantId: string, policy: object) => {
      return runtime.concordat.policies.apply(tenantId, [{ name: 'limit', metric: 'cost_usd', max: 1, ...policy }])
    }

    it.each([
      ['met', { max: 0.3 }, 'succeeded', 'SUCCESS', 'NO_VIOLATION', 'COMPLETE'],
      ['over cost', { max: 0.299999999 }, 'failed_policy', 'BLOCKED', 'VIOLATION', 'ABORTED'],
      ['over tokens', { metric: 'tokens', max: 999 }, 'failed_policy', 'BLOCKED', 'VIOLATION', 'ABORTED'],
      ['over steps', { metric: 'steps', max: 0 }, 'failed_policy', 'BLOCKED', 'VIOLATION', 'ABORTED'],
      ['over cost, but only warned', { max: 0.1, effect: 'warn' }, 'succeeded', 'SUCCESS', 'ADVISORY', 'COMPLETE'],
      ['of another agent', { max: 0, agent: 'works' }, 'succeeded', 'SUCCESS', 'NOT_APPLICABLE', 'COMPLETE'],
    ])('%s', async (name, policy, status, incident, evaluation, trace) => {
      const own = await tenant(`policy-${name.replaceAll(/\W/g, '-')}`)
      await apply(own, policy)
      const ended = await run('spends', { tenant: own })
      expect(endingOf(ended)).toMatchObject({ status, incident, evaluation, trace })
      expect(successAcks(ended)).toEqual(FIVE_ACKS)
      if (status === 'failed_policy') expect(ended.reason).toBe('BUDGET_EXCEEDED')
    })

    it('that was tightened: the version in force at the end decides, and is named', async () => {
      const own = await tenant('policy-versions')
      await apply(own, { max: 9 })
      expect(await apply(own, { max: 0.2 })).toMatchObject([{ version: 2, previousVersion: 1 }])
      const ended = await run('spends', { tenant: own })
      expect(ended.evaluation?.verdict.findings).toMatchObject([{ name: 'limit', version: 2, limit: 0.2 }])
      // The step of 0.3 was never taken.
      expect(ended.evaluation?.violations).toMatchObject([
        { type: 'BUDGET_EXCEEDED', policyId: 'limit', policyVersion: 2, limit: 0.2 },
      ])
    })

    it('that comes, or is changed again, while the run executes: the version in force at the end decides', async () => {
      const own = await tenant('policy-live')
      const atTheEnd = async (gate: string, max: number) => {
        const handle = await submit('waits', { tenant: own, input: gate })
        await gates.at(gate).reached
        await apply(own, { metric: 'steps', max, effect: 'warn', onChange: 'live' })
        gates.at(gate).open()
        const { evaluation } = await runtime.ended(handle)
        return evaluation?.verdict
      }
      expect(await atTheEnd('first limit', 0)).toMatchObject({
        outcome: 'ADVISORY',
        findings: [{ version: 1, met: false }],
      })
      expect(await atTheEnd('raised', 5)).toMatchObject({ outcome: 'ADVISORY', findings: [{ version: 2, met: true }] })
      expect(await atTheEnd('lowered', 0)).toMatchObject({
        outcome: 'ADVISORY',
        findings: [{ version: 3, met: false }],
      })
    })

    it('leaves lessons: near the limit, and efficient success', async () => {
      const near = await tenant('lessons-near')
      const far = await tenant('lessons-far')
      await apply(near, { max: 0.32 })
      await apply(far, { max: 3 })
      await run('spends', { tenant: near })
      await run('spends', { tenant: far })
      const rows = await runtime.database.query(
        `select tenant_id, kind from concordat.lessons where tenant_id like 'lessons-%' order by tenant_id`,
      )
      expect(rows).toEqual([
        { tenant_id: 'lessons-far', kind: 'EFFICIENT_SUCCESS' },
        { tenant_id: 'lessons-near', kind: 'NEAR_THRESHOLD' },
      ])
    })
  })

  describe('denied', () => {
    it.each([
      ['AUTHORIZATION_DENIED', 'by the user’s hook', { metadata: 'forbidden' }],
      ['AGENT_NOT_ALLOWED', 'by the allow list', { tenant: 'picky' }],
      ['TENANT_SUSPENDED', 'by suspension', { tenant: 'suspended' }],
    ])('%s %s: a run with its whole footprint, nothing executed', async (code, _by, request) => {
      await tenant('picky', { allowedAgents: ['fails'] })
      await runtime.concordat.tenants.suspend(await tenant('suspended'))
      const handle = await submit('works', request)
      expect(handle.denial?.code).toBe(code)
      const ended = await runtime.ended(handle)
      expect(endingOf(ended)).toEqual({
        status: 'failed_policy',
        phase: 'FAILED',
        reason: code,
        incident: 'BLOCKED',
        evaluation: 'NOT_APPLICABLE',
        trace: 'ABORTED',
        event: 'run.failed',
      })
      expect(walked(ended)).toEqual(['→CREATED', 'CREATED→FAILED'])
      expect(successAcks(ended)).toEqual(FIVE_ACKS)
      expect(ended.trace?.startedLate).toBe(true)
      expect(ended.steps).toEqual([])
      await expect(handle.result()).rejects.toMatchObject({ code })
    })
  })
})
