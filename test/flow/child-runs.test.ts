import { beforeAll, expect, it } from 'vitest'
import { type AppError, defineAgent } from '../../src/index.ts'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'
import { FIVE_ACKS, successAcks } from './support/footprint.ts'
import { Gates } from './support/gate.ts'
import { until } from './support/until.ts'

/** Of the suite that runs: the next one, on another database, begins anew. */
let gates = new Gates()

const used = { kind: 'llm', name: 'call', input: null, output: null, tokensIn: 10, tokensOut: 2, costUsd: 0.5 } as const

const doubles = defineAgent<number>({
  name: 'doubles',
  version: '1',
  async run({ input, step }) {
    await step.record(used)
    return input * 2
  },
})
const parent = defineAgent<number[]>({
  name: 'parent',
  version: '1',
  async run({ input, step }) {
    await step.record({ ...used, name: 'own' })
    return Promise.all(input.map((each) => step.run<number>('doubles', each)))
  },
})
const grandparent = defineAgent<number>({
  name: 'grandparent',
  version: '1',
  run: ({ input, step }) => step.run('parent', [input, input]),
})
const fails = defineAgent({ name: 'fails', version: '1', run: () => Promise.reject(new Error('no luck')) })
const careful = defineAgent<string>({
  name: 'careful',
  version: '1',
  run: ({ input, step }) =>
    step
      .run(input, null, { name: 'risky' })
      .catch((error: AppError) => ({ code: error.code, details: error.details ?? null })),
})
const holds = defineAgent({
  name: 'holds',
  version: '1',
  run: ({ step, run, signal }) => step.do('hold', () => gates.at(run.runId).pass(signal), { sideEffects: false }),
})
const keeps = defineAgent({ name: 'keeps', version: '1', run: ({ step }) => step.run('holds') })
const keepsTwo = defineAgent({
  name: 'keeps two',
  version: '1',
  run: ({ step }) => Promise.all([step.run('keeps'), step.run('fails')]),
})
const endless = defineAgent({ name: 'endless', version: '1', run: ({ step }) => step.run('endless') })

describeOnDatabases('a run that starts runs', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    gates = new Gates()
    const agents = [doubles, parent, grandparent, fails, careful, holds, keeps, keepsTwo, endless]
    runtime = await open({ agents, config: { workerConcurrency: 2 } })
    await runtime.concordat.tenants.create({ tenantId: 'strict', allowedAgents: ['careful'] })
  })
  const submit = (agent: string, input: unknown = null, tenant = 'default') =>
    runtime.runs.submit({ tenant, agent, input: input as never })
  const ended = async (agent: string, input?: unknown, tenant?: string) =>
    runtime.ended(await submit(agent, input, tenant))
  /** Waits until the run has a child, and returns that. */
  const childOf = async (runId: string) => {
    const run = await until(
      () => runtime.runs.get('default', runId),
      ({ children, waiting }) => children.length > 0 && waiting === 'CHILD',
    )
    return { tenantId: 'default', runId: run.children[0]!.runId }
  }

  it('gets what they return, more at once than there are slots', async () => {
    const run = await ended('parent', [1, 2, 3, 4])
    expect([run.status, run.output]).toEqual(['succeeded', [2, 4, 6, 8]])
    expect(run.children.map(({ status, agent }) => [status, agent])).toEqual(Array(4).fill(['succeeded', 'doubles']))
    expect(run.steps.map(({ kind, status }) => [kind, status])).toEqual([
      ['llm', 'succeeded'],
      ...Array(4).fill(['run', 'succeeded']),
    ])
    const child = await runtime.runs.get('default', run.children[0]!.runId)
    expect(child).toMatchObject({ parentRunId: run.runId, rootRunId: run.runId, depth: 1 })
    const keys = run.children.map(({ stepKey }) => stepKey).toSorted()
    expect(keys).toEqual(['doubles#1', 'doubles#2', 'doubles#3', 'doubles#4'])
    expect(successAcks(child)).toEqual(FIVE_ACKS)
  })

  it('counts what they use as its own, once, all the way up', async () => {
    const run = await ended('grandparent', 5)
    expect(run.output).toEqual([10, 10])
    const [row] = await runtime.database.query<{ cost: bigint; tokens: bigint; steps: bigint }>(
      `select r.cost_nano_usd as cost, r.tokens_in as tokens,
              (select sum(s.cost_nano_usd)::bigint from concordat.steps s join concordat.runs c using (tenant_id, run_id)
                where c.root_run_id = r.run_id or c.run_id = r.run_id) as steps
         from concordat.runs r where run_id = $1`,
      [run.runId],
    )
    expect(row).toEqual({ cost: 1_500_000_000n, tokens: 30n, steps: 1_500_000_000n })
  })

  it('can catch that one failed, was denied or is not there', async () => {
    expect((await ended('careful', 'fails')).output).toMatchObject({
      code: 'CHILD_FAILED',
      details: { status: 'failed', reason: 'AGENT_FAILED', runId: expect.any(String) },
    })
    expect((await ended('careful', 'nobody')).output).toMatchObject({ code: 'UNKNOWN_AGENT' })
    const denied = await ended('careful', 'doubles', 'strict')
    expect(denied.output).toMatchObject({ code: 'AGENT_NOT_ALLOWED' })
    expect(denied.children).toMatchObject([{ status: 'failed_policy', stepKey: 'risky#1' }])
  })

  it('fails with them where it does not, and can’t go deeper than 8 levels', async () => {
    const run = await ended('endless')
    expect([run.status, run.reason]).toEqual(['failed', 'CHILD_FAILED'])
    const rows = await runtime.database.query<{ depth: number; reason: string }>(
      `select depth, reason from concordat.runs where root_run_id = $1 order by depth desc limit 1`,
      [run.runId],
    )
    expect(rows).toEqual([{ depth: 8, reason: 'TOO_MANY_CHILDREN' }])
  })

  it('stops them with itself, and they theirs', async () => {
    const top = await submit('keeps two')
    const failed = await runtime.ended(top)
    expect([failed.status, failed.reason]).toEqual(['failed', 'CHILD_FAILED'])
    const keeping = failed.children.find(({ agent }) => agent === 'keeps')!
    const middle = await runtime.ended({ tenantId: 'default', runId: keeping.runId })
    expect(middle).toMatchObject({ status: 'cancelled', stop: { kind: 'parent', by: top.runId } })
    for (const { runId } of middle.children) {
      const below = await runtime.ended({ tenantId: 'default', runId })
      expect(below).toMatchObject({ status: 'cancelled', stop: { kind: 'parent', by: middle.runId } })
    }
  })

  it('stops them when it is stopped itself, also while they execute', async () => {
    const top = await submit('keeps')
    const child = await childOf(top.runId)
    await gates.at(child.runId).reached
    expect(await runtime.runs.stop('default', top.runId)).toBe('cancelled')
    const below = await runtime.ended(child)
    expect(below).toMatchObject({ status: 'cancelled', stop: { kind: 'parent', by: top.runId } })
    expect(below.stop?.confirmedAt).toEqual(expect.any(String))
  })

  it('has them stopped by maintenance where that was left out', async () => {
    const top = await submit('keeps')
    const child = await childOf(top.runId)
    await gates.at(child.runId).reached
    await runtime.database.query(
      `update concordat.runs set phase = 'FAILED', outcome = 'cancelled', ended_at = now(), worker_id = null,
              due_at = null, waiting = null where run_id = $1`,
      [top.runId],
    )
    expect(await runtime.ended(child)).toMatchObject({ status: 'cancelled', stop: { kind: 'parent' } })
  })
})
