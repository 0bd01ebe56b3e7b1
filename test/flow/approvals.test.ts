import { beforeAll, expect, it } from 'vitest'
import { defineAgent, type RunReport, type StepApi } from '../../src/index.ts'
import type { RunRef, TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'
import { endingOf, eventCounts, eventsOfEnded, FIVE_ACKS, successAcks } from './support/footprint.ts'
import { until } from './support/until.ts'

type Script = (step: StepApi) => unknown
/** Agents by a script that the test names in the input: each test says itself what its run does. */
const scripts = new Map<string, Script>()
/** What the tool did, by run. */
const acted = new Map<string, unknown[]>()
const scripted = defineAgent<string>({
  name: 'scripted',
  version: '1',
  tools: {
    transfer(input, { idempotencyKey }) {
      const runId = idempotencyKey.split(':')[0]!
      acted.set(runId, [...(acted.get(runId) ?? []), input])
      return 'done'
    },
  },
  run: ({ input, step }) => scripts.get(input)?.(step),
})

const transfer = { amount: 100, to: 'ada' }
const asking =
  (more: object = {}) =>
  (step: StepApi) =>
    step.tool('transfer', transfer, { approval: { ...more } })
const codeOf = (error: { code?: string }) => error.code
const admin = { by: 'ada', as: 'TENANT_ADMIN' } as const

/** What the tests of each runtime share. */
function on(runtime: TestRuntime) {
  let scriptCount = 0
  const { runs, approvals } = runtime.concordat
  const submit = (script: Script) => {
    const name = `${runtime.database.kind} ${crypto.randomUUID()} ${scriptCount++}`
    scripts.set(name, script)
    return runs.submit({ tenant: 'default', agent: 'scripted', input: name })
  }
  const now = ({ runId }: RunRef) => runs.get('default', runId)
  const pending = async (handle: RunRef) => {
    const { approvals } = await until(
      () => now(handle),
      (run) => run.status === 'paused' && run.approvals.some(({ state }) => state === 'pending'),
    )
    return approvals.findLast(({ state }) => state === 'pending')!
  }
  const asked = async (script: Script) => {
    const handle = await submit(script)
    const approval = await pending(handle)
    return { ...approval, ...handle, handle }
  }
  const decide = (approvalId: string, decision: 'approved' | 'rejected', more: object = {}) => {
    return approvals.decide('default', approvalId, { ...admin, decision, ...more })
  }
  return { submit, now, pending, asked, decide, ended: (handle: RunRef) => runtime.ended(handle) }
}

const blocked = (reason: string) => {
  return { status: 'failed_policy', reason, incident: 'BLOCKED', trace: 'ABORTED', event: 'run.failed' }
}
const statesOf = ({ approvals }: RunReport) => approvals.map(({ state }) => state)

describeOnDatabases('a step that needs an approval', (open) => {
  let runtime: TestRuntime
  let t: ReturnType<typeof on>
  beforeAll(async () => {
    runtime = await open({ agents: [scripted], config: { drainTimeoutMs: 0 } })
    await runtime.concordat.tenants.put({ tenantId: 'other' })
    t = on(runtime)
  })

  it('runs once it is approved, and not before; its run is paused meanwhile', async () => {
    const asked = await t.asked(asking({ message: 'Pay Ada?', timeout: 3_600_000 }))
    const paused = await t.now(asked)
    expect(paused).toMatchObject({
      status: 'paused',
      workerId: null,
      steps: [{ key: 'transfer#1', kind: 'tool', status: 'waiting' }],
      pauses: [{ reason: 'APPROVAL_REQUIRED', message: 'Pay Ada?', resumableBy: ['TENANT_ADMIN', 'OPERATOR'] }],
      approvals: [{ state: 'pending', purpose: 'ACTION', stepKey: 'transfer#1', message: 'Pay Ada?' }],
    })
    expect(asked.expiresAt?.getTime()).toBe(paused.pauses[0]?.timeoutAt.getTime())
    expect([acted.get(asked.runId), runtime.concordat.worker.active]).toEqual([undefined, 0])
    expect(await runtime.concordat.approvals.get('default', asked.approvalId)).toMatchObject({
      action: { agent: 'scripted', version: '1', kind: 'tool', name: 'transfer', input: transfer },
    })
    expect(await t.decide(asked.approvalId, 'approved', { note: 'is due' })).toMatchObject({ state: 'approved' })
    const ended = await t.ended(asked.handle)
    expect([ended.output, acted.get(asked.runId)]).toEqual(['done', [transfer]])
    expect(ended.approvals).toMatchObject([
      { state: 'consumed', decidedBy: 'ada', decidedAs: 'TENANT_ADMIN', note: 'is due' },
    ])
    expect(endingOf(ended)).toMatchObject({ status: 'succeeded', incident: 'SUCCESS' })
    expect(successAcks(ended)).toEqual(FIVE_ACKS)
    const more = { 'run.paused': 1, 'run.resumed': 1, 'approval.requested': 1, 'approval.decided': 1 }
    expect(eventCounts(ended)).toEqual({ ...eventsOfEnded('run.completed'), ...more })
  })

  it('by step.approval: the decision is an answer, also a rejection', async () => {
    const script: Script = async (step) => {
      const first = await step.approval('publish', { action: { page: 1 } })
      await step.sleep('nap', 10)
      const second = await step.approval('publish', { action: { page: 2 }, approvers: ['TENANT_USER'] })
      return [first, second]
    }
    const one = await t.asked(script)
    await t.decide(one.approvalId, 'approved')
    const two = await t.pending(one.handle)
    expect([one.stepKey, two.stepKey]).toEqual(['publish#1', 'publish#2'])
    await t.decide(two.approvalId, 'rejected', { by: 'eve', as: 'TENANT_USER', note: 'typo' })
    const ended = await t.ended(one.handle)
    expect(ended.output).toMatchObject([
      { decision: 'approved', by: 'ada', as: 'TENANT_ADMIN', note: null },
      { decision: 'rejected', by: 'eve', as: 'TENANT_USER', note: 'typo' },
    ])
    expect([ended.status, statesOf(ended)]).toEqual(['succeeded', ['consumed', 'rejected']])
  })

  it('rejected, it does not run: its error can be caught, else the run is blocked', async () => {
    const caught = await t.asked((step) => asking()(step).catch(codeOf))
    const uncaught = await t.asked(asking())
    for (const { approvalId } of [caught, uncaught]) await t.decide(approvalId, 'rejected', { note: 'too much' })
    expect(await t.ended(caught.handle)).toMatchObject({ status: 'succeeded', output: 'APPROVAL_REJECTED' })
    const ended = await t.ended(uncaught.handle)
    expect(endingOf(ended)).toMatchObject(blocked('APPROVAL_REJECTED'))
    expect(ended.incident?.message).toContain('rejected by ada as TENANT_ADMIN: too much')
    expect([acted.get(caught.runId), acted.get(uncaught.runId)]).toEqual([undefined, undefined])
  })

  it('asked for by a policy: it runs once it is approved, and not when it is rejected', async () => {
    const rule = { name: 'ask-first', when: 'step.tool == "transfer"', effect: 'require_approval' } as const
    await runtime.concordat.tenants.put({ tenantId: 'careful' })
    await runtime.concordat.policies.apply('careful', [rule])
    const { runs, approvals } = runtime.concordat
    for (const decision of ['approved', 'rejected'] as const) {
      const name = `careful ${decision} ${crypto.randomUUID()}`
      scripts.set(name, (step) => step.tool('transfer', transfer))
      const handle = await runs.submit({ tenant: 'careful', agent: 'scripted', input: name })
      const { approvals: asked } = await until(
        () => runs.get('careful', handle.runId),
        ({ status }) => status === 'paused',
      )
      expect(asked).toMatchObject([{ state: 'pending', stepKey: 'transfer#1', policy: 'ask-first' }])
      await approvals.decide('careful', asked[0]?.approvalId ?? '', { ...admin, decision })
      const { output, reason } = await t.ended(handle)
      const expected = decision === 'approved' ? ['done', 1] : [null, 0]
      expect([output, acted.get(handle.runId)?.length ?? 0]).toEqual(expected)
      if (decision === 'rejected') expect(reason).toBe('APPROVAL_REJECTED')
    }
  })

  it('demanded by a policy: the agent can narrow who decides, and not loosen it', async () => {
    const { runs, approvals, policies, tenants } = runtime.concordat
    const rule = {
      name: 'ask-first',
      when: 'step.tool == "transfer"',
      effect: 'require_approval',
      onChange: 'live',
    } as const
    await tenants.put({ tenantId: 'strict' })
    const submit = async (approvers: readonly string[]) => {
      const name = `strict ${approvers.join()} ${crypto.randomUUID()}`
      scripts.set(name, asking({ approvers }))
      return runs.submit({ tenant: 'strict', agent: 'scripted', input: name })
    }
    const asked = async ({ runId }: RunRef) => {
      const run = await until(
        () => runs.get('strict', runId),
        (each) => each.approvals.some(({ state }) => state === 'pending'),
      )
      return run.approvals.find(({ state }) => state === 'pending')!
    }
    const decide = (approvalId: string, as: 'TENANT_USER' | 'TENANT_ADMIN' | 'OPERATOR') => {
      return approvals.decide('strict', approvalId, { decision: 'approved', by: 'ada', as })
    }
    const before = await submit(['TENANT_USER'])
    const own = await asked(before)
    expect(own).toMatchObject({ policy: null, approvers: ['TENANT_USER'] })
    await policies.apply('strict', [rule])
    await decide(own.approvalId, 'TENANT_USER')
    const again = await asked(before) // nobody has been asked yet of those whom the policy asks
    expect(again).toMatchObject({ policy: 'ask-first', approvers: ['TENANT_ADMIN'] })
    await expect(decide(again.approvalId, 'TENANT_USER')).rejects.toMatchObject({ code: 'APPROVAL_FORBIDDEN' })
    expect(acted.get(before.runId)).toBeUndefined()
    await decide(again.approvalId, 'TENANT_ADMIN')
    const ended = await t.ended({ ...before, tenantId: 'strict' })
    expect([ended.output, statesOf(ended)]).toEqual(['done', ['expired', 'consumed']])

    const narrowed = await asked(await submit(['TENANT_USER', 'OPERATOR']))
    expect(narrowed).toMatchObject({ policy: 'ask-first', approvers: ['OPERATOR'] })
    await decide(narrowed.approvalId, 'OPERATOR')
    expect((await t.ended({ tenantId: 'strict', runId: narrowed.runId })).output).toBe('done')
  })

  it('asked for by a policy that has changed: the change is to be let pass first', async () => {
    const rule = { name: 'ask-first', when: 'step.tool == "transfer"', effect: 'require_approval' } as const
    const { runs, approvals, policies, tenants } = runtime.concordat
    await tenants.put({ tenantId: 'changing' })
    await policies.apply('changing', [rule])
    const name = crypto.randomUUID()
    scripts.set(name, async (step) => {
      await step.waitFor('go')
      return step.tool('transfer', transfer)
    })
    const handle = await runs.submit({ tenant: 'changing', agent: 'scripted', input: name })
    const pausedFor = (reason: string) =>
      until(
        () => runs.get('changing', handle.runId),
        ({ status, pauses }) => status === 'paused' && pauses.at(-1)?.reason === reason,
      )
    await until(
      () => runs.get('changing', handle.runId),
      ({ waiting }) => waiting === 'SIGNAL',
    )
    await policies.apply('changing', [{ ...rule, when: 'step.tool in ["transfer", "wire"]' }])
    await runs.signal('changing', handle.runId, 'go')
    expect((await pausedFor('POLICY_CHANGE')).approvals).toEqual([])
    await runs.resume('changing', handle.runId, admin)
    const [asked] = (await pausedFor('APPROVAL_REQUIRED')).approvals
    await approvals.decide('changing', asked?.approvalId ?? '', { ...admin, decision: 'approved' })
    expect(await t.ended(handle)).toMatchObject({ status: 'succeeded', output: 'done' })
  })

  it('is decided once, however many decide at the same time', async () => {
    const asked = await Promise.all(Array.from({ length: 4 }, () => t.asked((step) => asking()(step).catch(codeOf))))
    for (const { approvalId, handle, runId } of asked) {
      const tries = await Promise.allSettled(
        Array.from({ length: 6 }, (_, i) =>
          t.decide(approvalId, i % 2 ? 'approved' : 'rejected', { by: `person ${i}` }),
        ),
      )
      const won = tries.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
      const lost = tries.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []))
      expect(won).toHaveLength(1)
      expect(new Set(lost.map(codeOf))).toEqual(new Set(['APPROVAL_CLOSED']))
      const [{ state, decidedBy }] = won as [(typeof won)[0]]
      const approved = decidedBy === null ? false : Number(decidedBy.slice(-1)) % 2 === 1
      const ended = await t.ended(handle)
      expect(ended.output, state).toBe(approved ? 'done' : 'APPROVAL_REJECTED')
      expect(acted.get(runId) ?? []).toHaveLength(approved ? 1 : 0)
      expect(eventCounts(ended)).toMatchObject({ 'approval.decided': 1, 'run.resumed': 1 })
      await expect(t.decide(approvalId, 'rejected')).rejects.toMatchObject({
        code: 'APPROVAL_CLOSED',
        details: { state: approved ? 'consumed' : 'rejected', decidedBy },
      })
    }
  })

  it('is decided by its approvers and operators only; other attempts are recorded', async () => {
    const asked = await t.asked(asking({ approvers: ['API_KEY_OWNER'] }))
    const { approvals, runs } = runtime.concordat
    for (const as of ['TENANT_USER', 'TENANT_ADMIN', 'SYSTEM_AUTO'] as const) {
      const refused = t.decide(asked.approvalId, 'approved', { by: 'eve', as })
      await expect(refused).rejects.toMatchObject({
        code: 'APPROVAL_FORBIDDEN',
        details: { decidableBy: ['API_KEY_OWNER', 'OPERATOR'] },
      })
    }
    const { pauses, status } = await t.now(asked)
    expect([status, pauses[0]?.refusals.map(({ by, as }) => [by, as])]).toEqual([
      'paused',
      [
        ['eve', 'TENANT_USER'],
        ['eve', 'TENANT_ADMIN'],
        ['eve', 'SYSTEM_AUTO'],
      ],
    ])
    const resume = (as: 'TENANT_USER' | 'API_KEY_OWNER') => runs.resume('default', asked.runId, { by: 'eve', as })
    await expect(resume('TENANT_USER')).rejects.toMatchObject({ code: 'RESUME_FORBIDDEN' })
    await expect(resume('API_KEY_OWNER')).rejects.toMatchObject({ code: 'APPROVAL_PENDING' })
    for (const tenant of ['other', 'none']) {
      await expect(approvals.get(tenant, asked.approvalId)).rejects.toMatchObject({ code: 'APPROVAL_NOT_FOUND' })
      const decision = { ...admin, as: 'OPERATOR', decision: 'approved' } as const
      await expect(approvals.decide(tenant, asked.approvalId, decision)).rejects.toMatchObject({
        code: 'APPROVAL_NOT_FOUND',
      })
    }
    await t.decide(asked.approvalId, 'approved', { as: 'OPERATOR' })
    expect((await t.ended(asked.handle)).output).toBe('done')
  })

  it('needs one for each step, one after the other, also of steps that run at once', async () => {
    const both: Script = (step) => {
      const pay = (to: string) => step.tool('transfer', { to }, { approval: {} })
      return Promise.all([pay('ada'), pay('eve')])
    }
    const first = await t.asked(both)
    await t.decide(first.approvalId, 'approved')
    const second = await t.pending(first.handle)
    expect(second.approvalId).not.toBe(first.approvalId)
    await t.decide(second.approvalId, 'approved')
    const ended = await t.ended(first.handle)
    expect(ended.output).toEqual(['done', 'done'])
    expect(acted.get(first.runId)).toEqual([{ to: 'ada' }, { to: 'eve' }])
    expect(ended.approvals.map(({ stepKey, state }) => [stepKey, state])).toEqual([
      ['transfer#1', 'consumed'],
      ['transfer#2', 'consumed'],
    ])
  })

  it('is tried again under the same approval when it fails', async () => {
    const attempts: number[] = []
    const flaky: Script = (step) =>
      step.do(
        'flaky',
        ({ attempt }) => {
          attempts.push(attempt)
          if (attempt === 1) throw new Error('not yet')
          return 'at last'
        },
        { approval: { action: 'restart' }, retry: { maxAttempts: 2, baseMs: 10, capMs: 10 } },
      )
    const asked = await t.asked(flaky)
    await t.decide(asked.approvalId, 'approved')
    const ended = await t.ended(asked.handle)
    expect([attempts, ended.output, statesOf(ended)]).toEqual([[1, 2], 'at last', ['consumed']])
  })

  it.each([
    ['the digest of another action', `digest = repeat('0', 64)`, 'RUN_DIVERGED'],
    ['a time that is over', `expires_at = clock_timestamp()`, 'APPROVAL_EXPIRED'],
  ])('does not run by an approval with %s', async (_, change, reason) => {
    const asked = await t.asked(asking())
    await runtime.concordat.stop()
    await t.decide(asked.approvalId, 'approved')
    await runtime.database.query(`update concordat.approvals set ${change} where approval_id = $1`, [asked.approvalId])
    await runtime.start()
    const ended = await t.ended(asked.handle)
    expect([ended.reason, acted.get(asked.runId)]).toEqual([reason, undefined])
    if (reason === 'APPROVAL_EXPIRED') expect(eventCounts(ended)['approval.expired']).toBe(1)
  })

  it('of a run that is stopped is cancelled', async () => {
    const asked = await t.asked(asking())
    expect(await runtime.runs.stop('default', asked.runId)).toBe('cancelled')
    const ended = await t.ended(asked.handle)
    expect([ended.status, statesOf(ended)]).toEqual(['cancelled', ['cancelled']])
    await expect(t.decide(asked.approvalId, 'approved')).rejects.toMatchObject({
      code: 'APPROVAL_CLOSED',
      details: { state: 'cancelled' },
    })
  })

  it('where it may have acted before a crash, asks whether it may run again, each time anew', async () => {
    let began = 0
    const unsure: Script = (step) => {
      const act = ({ signal }: { signal: AbortSignal }) => {
        began++
        if (began === 3) return 'acted'
        return new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      }
      return step.do('act', act, { onUnknown: 'ask' })
    }
    const handle = await t.submit(unsure)
    for (const times of [1, 2]) {
      await until(
        async () => began,
        (seen) => seen === times,
      )
      await runtime.concordat.stop()
      await runtime.start()
      const { approvalId, purpose, stepKey } = await t.pending(handle)
      expect([purpose, stepKey, began]).toEqual(['REPEAT', 'act#1', times])
      await t.decide(approvalId, 'approved')
    }
    const ended = await t.ended(handle)
    expect([ended.output, began, statesOf(ended)]).toEqual(['acted', 3, ['consumed', 'consumed']])
    const refused = await t.submit(unsure)
    began = 0
    await until(
      async () => began,
      (seen) => seen === 1,
    )
    await runtime.concordat.stop()
    await runtime.start()
    await t.decide((await t.pending(refused)).approvalId, 'rejected')
    expect(endingOf(await t.ended(refused))).toMatchObject({ status: 'failed', reason: 'STEP_UNKNOWN' })
    expect(began).toBe(1)
  })

  it('asks in a way that somebody can answer, or fails', async () => {
    const wrong = [
      { approvers: [] },
      { approvers: ['BOSS'] },
      { approvers: ['SYSTEM_AUTO'] },
      { timeout: 0 },
      { message: 1 },
    ]
    const ended = await t.ended(
      await t.submit((step) => Promise.all(wrong.map((each) => asking(each)(step).catch(codeOf)))),
    )
    expect(ended.output).toEqual(wrong.map(() => 'INVALID_REQUEST'))
  })

  it('loses nothing and does nothing twice when a reply of the database is lost', async () => {
    for (const statement of ['approvals_insert', 'approvals_consume', 'steps_start']) {
      let met = false
      const remove = runtime.database.intercept((call) => {
        if (met || call.statement !== 'committed' || !call.before.includes(statement)) return
        met = true
        throw Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' })
      })
      const asked = await t.asked(asking())
      await t.decide(asked.approvalId, 'approved')
      const ended = await t.ended(asked.handle)
      remove()
      expect([met, ended.status, acted.get(asked.runId)?.length, statesOf(ended)], statement).toEqual([
        true,
        'succeeded',
        1,
        ['consumed'],
      ])
    }
  })
})

describeOnDatabases('an approval that nobody decides in time', (open) => {
  const expiring = async (pauseTimeoutBehavior: 'TERMINATE' | 'CONTINUE' | 'ESCALATE') => {
    const runtime = await open({ agents: [scripted], config: { pauseTimeoutBehavior } })
    return { runtime, t: on(runtime) }
  }

  it('blocks its run, by itself, also when everything was down meanwhile', async () => {
    const { runtime, t } = await expiring('TERMINATE')
    const ended = await t.ended(await t.submit(asking({ timeout: 20 })))
    expect(endingOf(ended)).toMatchObject(blocked('APPROVAL_EXPIRED'))
    expect([statesOf(ended), ended.pauses[0]?.endedHow]).toEqual([['expired'], 'TIMED_OUT'])
    expect(eventCounts(ended)).toMatchObject({ 'approval.requested': 1, 'approval.expired': 1, 'run.failed': 1 })
    expect(successAcks(ended)).toEqual(FIVE_ACKS)
    await expect(t.decide(ended.approvals[0]?.approvalId ?? '', 'approved')).rejects.toMatchObject({
      code: 'APPROVAL_CLOSED',
      details: { state: 'expired' },
    })
    const later = await t.asked(asking({ timeout: 3_600_000 }))
    await runtime.concordat.stop()
    for (const [table, column] of [
      ['approvals', 'expires_at'],
      ['pauses', 'timeout_at'],
      ['runs', 'due_at'],
    ]) {
      const sql = `update concordat.${table} set ${column} = clock_timestamp() - interval '1 h' where run_id = $1`
      await runtime.database.query(sql, [later.runId])
    }
    await expect(t.decide(later.approvalId, 'approved')).rejects.toMatchObject({ details: { state: 'expired' } })
    await runtime.start()
    expect(endingOf(await t.ended(later.handle))).toMatchObject(blocked('APPROVAL_EXPIRED'))
    expect(acted.get(later.runId)).toBeUndefined()
  })

  it('fails its step where runs go on after a pause’s time, and the agent can catch that', async () => {
    const { t } = await expiring('CONTINUE')
    const ended = await t.ended(await t.submit((step) => asking({ timeout: 20 })(step).catch(codeOf)))
    expect([ended.output, statesOf(ended), acted.get(ended.runId)]).toEqual([
      'APPROVAL_EXPIRED',
      ['expired'],
      undefined,
    ])
    expect(eventCounts(ended)).toMatchObject({ 'approval.expired': 1, 'run.resumed': 1 })
    const uncaught = await t.submit((step) => step.approval('ask', { timeout: 20 }))
    expect(endingOf(await t.ended(uncaught))).toMatchObject(blocked('APPROVAL_EXPIRED'))
  })

  it('is left to operators, without an end, where pauses are escalated', async () => {
    const { t } = await expiring('ESCALATE')
    const asked = await t.asked(asking({ timeout: 100 }))
    const escalated = await until(
      () => t.now(asked.handle),
      ({ pauses }) => pauses[0]?.escalatedAt != null,
    )
    expect(escalated.approvals).toMatchObject([{ state: 'pending', expiresAt: null }])
    await expect(t.decide(asked.approvalId, 'approved')).rejects.toMatchObject({ code: 'APPROVAL_FORBIDDEN' })
    await t.decide(asked.approvalId, 'approved', { as: 'OPERATOR' })
    expect((await t.ended(asked.handle)).output).toBe('done')
  })
})
