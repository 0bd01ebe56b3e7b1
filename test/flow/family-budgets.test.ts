import { beforeAll, expect, it } from 'vitest'
import { AppError, defineAgent, type Json, type PolicyInput } from '../../src/index.ts'
import type { RunRef, TestRuntime } from '../../src/testing/testing.ts'
import { checkLedger, checkLedgerAtTheEnd, checkSettled } from '../torture/ledger-promises.ts'
import { describeOnDatabases } from './support/databases.ts'
import { Gates } from './support/gate.ts'
import { until } from './support/until.ts'

let gates = new Gates()

interface Family {
  /** What its own steps cost, before it starts any run. */
  readonly costs?: readonly number[]
  readonly children?: readonly Family[]
  /** Its children one after the other. */
  readonly inTurn?: true
  /** Holds a step there that declares half a dollar. */
  readonly gate?: string
  /** Holds a step there too, that declares nothing. */
  readonly pass?: string
}

/** Spends, and starts runs that do; gives how many of them were refused. */
const family = (name: string) =>
  defineAgent<Family>({
    name,
    version: '1',
    async run({ input: { costs = [], children = [], inTurn, gate, pass }, step }) {
      for (const costUsd of costs) await step.record({ kind: 'llm', name: 'ask', input: '', output: '', costUsd })
      const hold = { maxCostUsd: 0.5, sideEffects: false }
      if (gate) await step.do('hold', ({ signal }) => gates.at(gate).pass(signal), hold)
      if (pass) await step.do('pass', ({ signal }) => gates.at(pass).pass(signal), { sideEffects: false })
      let refused = 0
      const start = async (child: Family) => {
        await step.run('spends', asJson(child)).catch((error) => {
          if (!(error instanceof AppError && error.code === 'CHILD_FAILED')) throw error
          refused++
        })
      }
      if (inTurn) for (const child of children) await start(child)
      else await Promise.all(children.map(start))
      return refused
    },
  })
const asJson = (value: Family) => JSON.parse(JSON.stringify(value)) as Json

describeOnDatabases('a budget of a run that starts runs', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    gates = new Gates()
    runtime = await open({ agents: [family('spends'), family('leads')], config: { workerConcurrency: 4 } })
  })

  let tenants = 0
  const tenantWith = async (...policies: PolicyInput[]) => {
    const tenant = `families-${++tenants}`
    await runtime.concordat.tenants.put({ tenantId: tenant })
    await runtime.concordat.policies.apply(tenant, policies)
    return tenant
  }
  const submit = (tenant: string, plan: Family, apiKeyId?: string) =>
    runtime.runs.submit({ tenant, agent: 'leads', input: asJson(plan), apiKeyId })
  const spent = async (tenant: string, plan: Family, apiKeyId?: string) =>
    runtime.ended(await submit(tenant, plan, apiKeyId))
  const row = async (tenantId: string, subject: string) => {
    const [found] = await runtime.database.query<{ settled: number; reserved: number; overrun: number }>(
      `select settled::float8, reserved::float8, overrun::float8 from concordat.budgets
        where tenant_id = $1 and subject = $2`,
      [tenantId, subject],
    )
    return found
  }
  const childrenOf = async ({ tenantId, runId }: RunRef) => {
    const { children } = await runtime.runs.get(tenantId, runId)
    return Promise.all(children.map((child) => runtime.runs.get(tenantId, child.runId)))
  }
  const cost = (max: number, more: object = {}): PolicyInput => ({ name: 'cost', metric: 'cost_usd', max, ...more })
  const spender = (...costs: number[]): Family => ({ costs })

  it('is used by them too, to the last cent, and counted once', async () => {
    const tenant = await tenantWith(cost(1))
    const run = await spent(tenant, { costs: [0.1], children: Array.from({ length: 11 }, () => spender(0.1)) })
    expect([run.status, run.output]).toEqual(['succeeded', 2])
    expect(await row(tenant, `run/${run.runId}`)).toEqual({ settled: 1e9, reserved: 0, overrun: 0 })
    const refused = (await childrenOf(run)).filter(({ status }) => status === 'failed_policy')
    expect(refused.map(({ reason }) => reason)).toEqual(['BUDGET_EXCEEDED', 'BUDGET_EXCEEDED'])
    expect(refused[0]?.error).toMatchObject({
      message: `policy cost: cost_usd 1 and 0.1 for this step over 1 of run ${run.runId}, which waits for this one`,
    })
    expect(await checkLedger(runtime.database)).toEqual([])
    expect(await checkSettled(runtime.database)).toEqual([])
  })

  it('bounds all below it: grandchildren use their parents’ and what those are children of', async () => {
    const tenant = await tenantWith(cost(0.5, { agent: 'leads' }), cost(0.3, { name: 'each', agent: 'spends' }))
    const middle = (): Family => ({ costs: [0.1], children: [spender(0.1), spender(0.1, 0.1)], inTurn: true })
    const run = await spent(tenant, { children: [middle(), middle()], inTurn: true })
    expect(await row(tenant, `run/${run.runId}`)).toEqual({ settled: 0.5e9, reserved: 0, overrun: 0 })
    const [first, second] = await childrenOf(run)
    expect(await row(tenant, `run/${first?.runId}`)).toMatchObject({ settled: 0.3e9 })
    expect(await row(tenant, `run/${second?.runId}`)).toMatchObject({ settled: 0.2e9 })
    expect(await checkSettled(runtime.database)).toEqual([])
  })

  it('counts a step that starts a run as one step, once it has begun', async () => {
    const tenant = await tenantWith({ name: 'steps', metric: 'steps', max: 5 })
    const run = await spent(tenant, { children: [spender(0.1, 0.1), spender(0.1, 0.1)], inTurn: true })
    expect([run.status, run.output]).toEqual(['succeeded', 1])
    expect(await row(tenant, `run/${run.runId}`)).toEqual({ settled: 5, reserved: 0, overrun: 0 })
  })

  it('is reserved by what runs below it, which wait for each other and not in vain', async () => {
    const tenant = await tenantWith(cost(0.6))
    const run = await submit(tenant, { children: [{ gate: `${tenant}-1` }, { gate: `${tenant}-2` }] })
    const [gate] = await Promise.race(['1', '2'].map(async (n) => [n, await gates.at(`${tenant}-${n}`).reached]))
    expect(await row(tenant, `run/${run.runId}`)).toMatchObject({ settled: 0, reserved: 0.5e9 })
    await until(
      () => childrenOf(run),
      (children) => children.some(({ waiting }) => waiting === 'RETRY'),
    )
    for (const n of ['1', '2']) if (n !== gate) gates.at(`${tenant}-${n}`).open()
    const [held] = (await childrenOf(run)).filter(({ waiting }) => waiting === null)
    await runtime.runs.stop(tenant, held?.runId ?? '', { by: 'ada', why: 'enough' })
    // Aborted, it may have used all of it: what is left is not enough for the other one.
    expect(await runtime.ended(run)).toMatchObject({ status: 'succeeded', output: 2 })
    expect(await row(tenant, `run/${run.runId}`)).toEqual({ settled: 0.5e9, reserved: 0, overrun: 0 })
    expect(await checkLedgerAtTheEnd(runtime.database)).toEqual([])
  })

  it('keeps nothing reserved by children that are stopped with it', async () => {
    const tenant = await tenantWith(cost(9))
    const run = await submit(tenant, { children: [{ gate: tenant }, { children: [{ gate: `${tenant}-below` }] }] })
    await Promise.all([gates.at(tenant).reached, gates.at(`${tenant}-below`).reached])
    expect(await row(tenant, `run/${run.runId}`)).toMatchObject({ reserved: 1e9 })
    await runtime.runs.stop(tenant, run.runId, { by: 'ada', why: 'enough' })
    await runtime.ended(run)
    await until(
      () => row(tenant, `run/${run.runId}`),
      (seen) => seen?.reserved === 0,
    )
    expect(await row(tenant, `run/${run.runId}`)).toEqual({ settled: 1e9, reserved: 0, overrun: 0 })
  })

  it('counts what they have used already when a limit comes into force while they run', async () => {
    const tenant = await tenantWith()
    const children = [spender(0.2, 0.2), { children: [{ costs: [0.3], pass: tenant }] }, spender(0.1)]
    const run = await submit(tenant, { costs: [0.1], children, inTurn: true })
    await gates.at(tenant).reached
    await runtime.concordat.policies.apply(tenant, [cost(0.9, { onChange: 'live' })])
    gates.at(tenant).open()
    expect(await runtime.ended(run)).toMatchObject({ status: 'succeeded', output: 0 })
    expect(await row(tenant, `run/${run.runId}`)).toMatchObject({ settled: 0.9e9, reserved: 0 })
  })

  /** Its limit of a dollar is another one once the parent has begun; it uses half a dollar, its children ask for 90 cents. */
  const changedForChildren = async (before: number, after: number) => {
    const pinned = (max: number) => cost(max, { onChange: 'pinned' })
    const tenant = await tenantWith(pinned(before))
    const run = await submit(tenant, {
      gate: tenant,
      children: [spender(0.4), spender(0.4), spender(0.1)],
      inTurn: true,
    })
    await gates.at(tenant).reached
    await runtime.concordat.policies.apply(tenant, [pinned(after)])
    gates.at(tenant).open()
    const ended = await runtime.ended(run)
    return { ended, children: await childrenOf(run) }
  }

  it('whose limit was lowered since it began bounds what begins below it by the lower one', async () => {
    const { ended, children } = await changedForChildren(9, 1)
    expect([ended.status, ended.output]).toEqual(['succeeded', 1])
    expect(children.map(({ status }) => status)).toEqual(['succeeded', 'failed_policy', 'succeeded'])
  })

  it('whose limit was raised since it began is ended by its own, pinned one, when its children have used more', async () => {
    const { ended, children } = await changedForChildren(1, 9)
    expect([ended.status, ended.reason]).toEqual(['failed_policy', 'BUDGET_EXCEEDED'])
    expect(children.map(({ status }) => status)).toEqual(['succeeded', 'succeeded'])
  })

  it('of an API key is shared by the runs that it submits and those that they start, and bounds no others', async () => {
    const tenant = await tenantWith(cost(0.5, { scope: 'api_key', window: 'month' }))
    const children = [spender(0.1), spender(0.1)]
    const first = await spent(tenant, { costs: [0.1], children }, 'cdk_1')
    expect([first.apiKeyId, first.output]).toEqual(['cdk_1', 0])
    expect((await childrenOf(first)).map(({ apiKeyId }) => apiKeyId)).toEqual(['cdk_1', 'cdk_1'])
    expect(await spent(tenant, spender(0.2, 0.1), 'cdk_1')).toMatchObject({ reason: 'BUDGET_EXCEEDED' })
    expect(await spent(tenant, spender(0.5), 'cdk_2')).toMatchObject({ status: 'succeeded' })
    expect(await spent(tenant, spender(5))).toMatchObject({ status: 'succeeded', apiKeyId: null })
    expect(await row(tenant, 'key/cdk_1')).toEqual({ settled: 0.5e9, reserved: 0, overrun: 0 })
    expect(await row(tenant, 'key/cdk_2')).toMatchObject({ settled: 0.5e9 })
    expect(await checkSettled(runtime.database)).toEqual([])
  })

  it('refuses the id of a key that no subject of the ledger could have', async () => {
    const tenant = await tenantWith()
    for (const id of ['', 'a/agent/b', 'x'.repeat(201), 'a\nb']) {
      await expect(submit(tenant, {}, id)).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
    }
    const once = { tenant, agent: 'leads', input: {}, idempotencyKey: 'once' }
    await runtime.runs.submit({ ...once, apiKeyId: 'a' })
    await expect(runtime.runs.submit({ ...once, apiKeyId: 'b' })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_CONFLICT',
    })
  })
})
