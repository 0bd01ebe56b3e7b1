import { beforeAll, expect, it } from 'vitest'
import { type Authority, defineAgent, type PauseReason } from '../../src/index.ts'
import type { RunRef, TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'
import { endingOf, eventCounts, eventsOfEnded, FIVE_ACKS, successAcks } from './support/footprint.ts'
import { until } from './support/until.ts'

const sleeps = defineAgent({ name: 'sleeps', version: '1', run: ({ step }) => step.sleep('long', 3_600_000) })
const SLA_MS = 3_600_000
const WARN_MS = 300_000

describeOnDatabases('a pause that nobody ends', (open) => {
  let runtime: TestRuntime
  const config = { pauseSlaMs: SLA_MS, pauseNotifyBeforeTimeoutMs: WARN_MS }
  beforeAll(async () => {
    runtime = await open({ agents: [sleeps], config })
  })

  const get = ({ runId }: RunRef) => runtime.runs.get('default', runId)
  const resume = ({ runId }: RunRef, as: Authority) => runtime.runs.resume('default', runId, { by: 'eve', as })
  const lastPause = async (run: RunRef) => (await get(run)).pauses.at(-1)

  /** A run that is paused for this reason, and what else its pause's row says. */
  async function paused(reason: PauseReason, row: Readonly<Record<string, unknown>> = {}): Promise<RunRef> {
    const run = await runtime.runs.submit({ tenant: 'default', agent: 'sleeps' })
    await until(
      () => get(run),
      ({ waiting }) => waiting === 'TIMER',
    )
    await runtime.runs.pause('default', run.runId, { by: 'ada', as: 'TENANT_USER', why: 'a test' })
    for (const [column, value] of Object.entries({ reason, ...row })) {
      await runtime.database.query(`update concordat.pauses set ${column} = $2 where run_id = $1`, [run.runId, value])
    }
    return run
  }

  /** Makes the pause, and all that is due of it, so much older. */
  async function age({ runId }: RunRef, ms: number): Promise<void> {
    const older = (column: string) => `${column} = ${column} - $2::int * interval '1 ms'`
    const times = ['paused_at', 'warn_at', 'timeout_at', 'resume_at'].map(older).join(', ')
    await runtime.database.transaction(async (tx) => {
      await tx.query(`update concordat.pauses set ${times} where run_id = $1`, [runId, ms])
      await tx.query(`update concordat.runs set ${older('due_at')} where run_id = $1`, [runId, ms])
    })
  }

  it('has a warning kept with it before its time is over, once, and no event', async () => {
    const run = await paused('MANUAL_PAUSE')
    const { dueAt, pauses } = await get(run)
    expect(dueAt).toEqual(pauses[0]?.warnAt)
    await age(run, SLA_MS - WARN_MS)
    const warned = await until(
      () => lastPause(run),
      (pause) => pause?.warnedAt !== null,
    )
    expect(warned).toMatchObject({ endedAt: null, escalatedAt: null })
    expect(await get(run)).toMatchObject({ status: 'paused', dueAt: warned?.timeoutAt })
    const { 'run.paused': announced } = eventCounts(await get(run))
    expect(announced).toBe(1)
    expect(await resume(run, 'TENANT_USER')).toBe('resumed')
  })

  it.each<PauseReason>(['MANUAL_PAUSE', 'BUDGET_WARNING'])('ends its run as failed_policy: %s', async (reason) => {
    const run = await paused(reason)
    await age(run, SLA_MS)
    const ended = await runtime.ended(run)
    expect(endingOf(ended)).toEqual({
      status: 'failed_policy',
      phase: 'FAILED',
      reason: 'PAUSE_TIMEOUT',
      incident: 'BLOCKED',
      evaluation: 'NOT_APPLICABLE',
      trace: 'ABORTED',
      event: 'run.failed',
    })
    expect(successAcks(ended)).toEqual(FIVE_ACKS)
    expect(eventCounts(ended)).toEqual({ ...eventsOfEnded('run.failed'), 'run.paused': 1 })
    expect(ended.pauses).toMatchObject([{ endedHow: 'TIMED_OUT', resumedBy: null, warnedAt: null }])
    expect(ended.incident?.message).toBe(`paused (${reason}) and not resumed within 3600 s`)
    await expect(runtime.runs.result('default', run.runId)).rejects.toMatchObject({ code: 'PAUSE_TIMEOUT' })
    await expect(resume(run, 'OPERATOR')).rejects.toMatchObject({ code: 'RUN_NOT_PAUSED' })
  })

  it('goes on by itself where that is configured, under the policies in force then', async () => {
    const run = await paused('POLICY_CHANGE', { on_timeout: 'CONTINUE' })
    await age(run, SLA_MS)
    const going = await until(
      () => get(run),
      ({ status }) => status === 'running',
    )
    expect(going.pauses).toMatchObject([{ endedHow: 'RESUMED', resumedBy: 'concordat', resumedAs: 'SYSTEM_AUTO' }])
    expect(going.policiesAsOf).not.toBeNull()
    expect(eventCounts(going)).toMatchObject({ 'run.resumed': 1 })
  })

  it('is left to operators where that is configured: nobody else may resume it, and nothing more is due', async () => {
    const run = await paused('MANUAL_PAUSE', { on_timeout: 'ESCALATE' })
    await age(run, SLA_MS)
    await until(
      () => lastPause(run),
      (pause) => pause?.escalatedAt !== null,
    )
    expect(await get(run)).toMatchObject({ status: 'paused', dueAt: null, pauses: [{ resumableBy: ['OPERATOR'] }] })
    await expect(resume(run, 'TENANT_ADMIN')).rejects.toMatchObject({
      code: 'RESUME_FORBIDDEN',
      message: expect.stringContaining('an escalated pause, only OPERATOR may'),
    })
    expect(await resume(run, 'OPERATOR')).toBe('resumed')
  })

  it('of a rate limit ends when the window has room, without a person, and changes no policies', async () => {
    const run = await paused('RATE_LIMIT_SOFT', { resume_at: new Date(Date.now() + 60_000) })
    await expect(resume(run, 'SYSTEM_AUTO')).rejects.toMatchObject({ code: 'RESUME_FORBIDDEN' })
    await runtime.database.query(
      `update concordat.runs r set due_at = p.resume_at from concordat.pauses p
        where p.run_id = r.run_id and r.run_id = $1`,
      [run.runId],
    )
    await age(run, 60_000)
    const going = await until(
      () => get(run),
      ({ status }) => status === 'running',
    )
    expect(going).toMatchObject({ policiesAsOf: null, pauses: [{ resumedAs: 'SYSTEM_AUTO' }] })
  })

  it('may be resumed only by whom its reason names; who tries in vain is kept with it, the latest of them', async () => {
    const run = await paused('POLICY_CHANGE')
    for (let i = 0; i < 22; i++) {
      const refused = runtime.runs.resume('default', run.runId, { by: `eve ${i}`, as: 'TENANT_USER' })
      await expect(refused).rejects.toMatchObject({
        code: 'RESUME_FORBIDDEN',
        details: { resumableBy: ['TENANT_ADMIN', 'OPERATOR'] },
      })
    }
    const pause = await lastPause(run)
    expect(pause?.endedAt).toBeNull()
    expect(pause?.refusals).toHaveLength(20)
    expect(pause?.refusals.at(-1)).toMatchObject({ by: 'eve 21', as: 'TENANT_USER' })
    expect(await resume(run, 'TENANT_ADMIN')).toBe('resumed')
  })

  it('of an approval may be resumed by the approvers that are named', async () => {
    const run = await paused('APPROVAL_REQUIRED', { approvers: ['API_KEY_OWNER'] })
    await expect(resume(run, 'TENANT_ADMIN')).rejects.toMatchObject({ code: 'RESUME_FORBIDDEN' })
    expect(await resume(run, 'API_KEY_OWNER')).toBe('resumed')
  })

  it('whose times were moved by hand is looked at again at the time that it then has', async () => {
    const run = await paused('MANUAL_PAUSE', { on_timeout: 'ESCALATE' })
    await runtime.database.query('update concordat.runs set due_at = now() where run_id = $1', [run.runId])
    const back = await until(
      () => get(run),
      ({ dueAt, pauses }) => dueAt?.getTime() === pauses[0]?.warnAt?.getTime(),
    )
    expect(back.status).toBe('paused')
  })
})

describeOnDatabases('pauses whose time was over while everything was down', (open) => {
  it('are ended at the start, each once, by whichever process comes first', async () => {
    const runtime = await open({ agents: [sleeps], config: { pauseSlaMs: SLA_MS } })
    const submit = () => runtime.runs.submit({ tenant: 'default', agent: 'sleeps' })
    const runs = await Promise.all(Array.from({ length: 20 }, submit))
    for (const { runId } of runs) {
      await until(
        () => runtime.runs.get('default', runId),
        ({ waiting }) => waiting === 'TIMER',
      )
      await runtime.runs.pause('default', runId, { by: 'ada', as: 'OPERATOR' })
    }
    await runtime.concordat.stop()
    const over = `update concordat.pauses set timeout_at = timeout_at - interval '1 day'`
    await runtime.database.query(over)
    await runtime.database.query(`update concordat.runs set due_at = due_at - interval '1 day' where paused`)
    await runtime.start()
    for (const run of runs) {
      const ended = await runtime.ended(run)
      expect(endingOf(ended)).toMatchObject({ status: 'failed_policy', reason: 'PAUSE_TIMEOUT', incident: 'BLOCKED' })
      expect(eventCounts(ended)).toEqual({ ...eventsOfEnded('run.failed'), 'run.paused': 1 })
    }
  })
})
