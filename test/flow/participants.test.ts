import { beforeEach, expect, it, vi } from 'vitest'
import { defineAgent, type EndingRun, type Participant, type ParticipantIntent } from '../../src/index.ts'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'
import { endingOf, eventCounts, eventsOfEnded, FIVE_ACKS, successAcks } from './support/footprint.ts'
import { createRefusals, refuse, refuseNoMore } from './support/refusals.ts'
import { until } from './support/until.ts'

const works = defineAgent<string>({ name: 'works', version: '1', run: ({ input }) => input })

/** What the participants do, per test. */
const ledger = {
  write: vi.fn<NonNullable<Participant['write']>>(),
  act: vi.fn<NonNullable<Participant['act']>>(),
  compensate: vi.fn<NonNullable<Participant['compensate']>>(),
  second: vi.fn<NonNullable<Participant['act']>>(),
}
const participants: Participant[] = [
  {
    name: 'ledger',
    timeoutMs: 500,
    write: (...args) => ledger.write(...args),
    act: (...args) => ledger.act(...args),
    compensate: (...args) => ledger.compensate(...args),
  },
  { name: 'second', timeoutMs: 500, act: (...args) => ledger.second(...args) },
]

describeOnDatabases('participants', (open) => {
  let runtime: TestRuntime
  beforeEach(async () => {
    runtime ??= await opened()
    for (const mock of Object.values(ledger)) mock.mockReset()
    ledger.act.mockImplementation(async (run) => ({ receipt: run.runId }))
    ledger.second.mockImplementation(async () => null)
    ledger.write.mockImplementation(async (tx, run) => {
      await tx.query('insert into ledger (run_id, status) values ($1, $2)', [run.runId, run.status])
    })
  })

  async function opened() {
    const made = await open({ agents: [works], participants })
    await made.database.query('create table ledger (run_id uuid primary key, status text)')
    await createRefusals(made.database)
    return made
  }
  const submit = () => runtime.runs.submit({ tenant: 'default', agent: 'works', input: 'x' })
  const written = async (runId: string) => {
    const rows = await runtime.database.query<{ status: string }>('select status from ledger where run_id = $1', [
      runId,
    ])
    return rows.map(({ status }) => status)
  }
  const intents = (runId: string) => {
    return runtime.database.query<{ participant: string; attempt: number; state: string }>(
      'select participant, attempt, state from concordat.participant_intents where run_id = $1 order by attempt, participant',
      [runId],
    )
  }
  const blocked = ({ runId }: { runId: string }) => {
    return until(
      () => runtime.runs.get('default', runId),
      ({ alerts, pending }) => alerts.length > 0 && pending !== null,
    )
  }

  it('write in the same commit as the run’s own end, and what they did elsewhere is settled by it', async () => {
    const run = await runtime.ended(await submit())
    expect(successAcks(run)).toEqual(FIVE_ACKS)
    expect(eventCounts(run)).toEqual(eventsOfEnded('run.completed'))
    expect(await written(run.runId)).toEqual(['succeeded'])
    expect(await intents(run.runId)).toEqual([
      { participant: 'ledger', attempt: 1, state: 'settled' },
      { participant: 'second', attempt: 1, state: 'settled' },
    ])
    const ending: EndingRun = {
      tenantId: 'default',
      runId: run.runId,
      agent: 'works',
      status: 'succeeded',
      reason: 'DONE',
    }
    const intent: ParticipantIntent = {
      tenantId: 'default',
      runId: run.runId,
      participant: 'ledger',
      attempt: 1,
      idempotencyKey: `${run.runId}:ledger:1`,
    }
    expect(ledger.act).toHaveBeenCalledExactlyOnceWith(ending, intent, expect.any(AbortSignal))
    expect(ledger.compensate).not.toHaveBeenCalled()
  })

  it('that refuse to write roll everything back, compensations in reverse included; it heals by itself', async () => {
    ledger.write
      .mockRejectedValueOnce(new Error('closed'))
      .mockRejectedValueOnce(new Error('closed'))
      .mockRejectedValueOnce(new Error('closed'))
    const handle = await submit()
    const parked = await blocked(handle)
    expect(parked).toMatchObject({ phase: 'FINALIZING', incident: null, evaluation: null })
    expect(parked.pending).toMatchObject({
      blockedBy: 'participant:ledger',
      phaseReached: 'TRACE_COMPLETED',
      error: expect.stringContaining('closed'),
    })
    const rolledBack = parked.acks.filter(({ status, attempt }) => status === 'ROLLED_BACK' && attempt === 1)
    expect(rolledBack.map(({ domain }) => domain)).toEqual([
      'participant:ledger',
      'logs',
      'policies',
      'incidents',
      'participant:second',
      'participant:ledger',
    ])
    expect(ledger.compensate).toHaveBeenCalledTimes(3)
    expect(ledger.compensate).toHaveBeenCalledWith(expect.objectContaining({ attempt: 1 }), { receipt: handle.runId })
    const run = await runtime.ended(handle)
    expect(successAcks(run)).toEqual(FIVE_ACKS)
    expect(await written(handle.runId)).toEqual(['succeeded'])
    const states = (await intents(handle.runId))
      .filter(({ participant }) => participant === 'ledger')
      .map(({ state }) => state)
    expect(states.slice(0, 3)).toEqual(['compensated', 'compensated', 'compensated'])
    expect(states.at(-1)).toBe('settled')
  })

  it('are undone when a domain refuses after they acted', async () => {
    let runId = ''
    ledger.act.mockImplementation(async (run) => {
      runId = run.runId
      if (ledger.act.mock.calls.length === 1) await refuse(runtime.database, 'policy_evaluations', [run.runId])
      return { n: ledger.act.mock.calls.length }
    })
    const handle = await submit()
    const parked = await blocked(handle)
    expect(runId).toBe(handle.runId)
    expect(parked.pending).toMatchObject({ blockedBy: 'policies', phaseReached: 'INCIDENT_CREATED' })
    expect(ledger.compensate.mock.calls.map(([intent, detail]) => [intent.attempt, detail])).toEqual([
      [1, { n: 1 }],
      [2, { n: 2 }],
      [3, { n: 3 }],
    ])
    expect(await written(handle.runId)).toEqual([])
    await refuseNoMore(runtime.database, [handle.runId])
    expect(successAcks(await runtime.ended(handle))).toEqual(FIVE_ACKS)
  })

  it('that act halfway and fail are compensated too, without a detail', async () => {
    ledger.act.mockRejectedValueOnce(new Error('half done'))
    const run = await runtime.ended(await submit())
    expect(ledger.compensate).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ attempt: 1 }), null)
    expect(run.acks.find(({ status }) => status === 'ROLLED_BACK')).toMatchObject({
      domain: 'participant:ledger',
      error: expect.stringContaining('half done'),
    })
    expect(successAcks(run)).toEqual(FIVE_ACKS)
  })

  it('that take too long fail the try: their signal aborts', async () => {
    let aborted = false
    ledger.act.mockImplementationOnce((_run, _intent, signal) => {
      signal.addEventListener('abort', () => {
        aborted = true
      })
      return new Promise(() => {})
    })
    const run = await runtime.ended(await submit())
    expect(aborted).toBe(true)
    expect(run.acks.find(({ status }) => status === 'ROLLED_BACK')?.error).toContain('took longer than 500 ms')
    expect(endingOf(run)).toMatchObject({ status: 'succeeded', incident: 'SUCCESS' })
  })

  it('whose compensation fails keep their intent, and the sweep runs it until it works', async () => {
    ledger.write.mockRejectedValueOnce(new Error('closed'))
    ledger.compensate.mockRejectedValueOnce(new Error('not now'))
    const handle = await submit()
    const run = await runtime.ended(handle)
    expect(run.acks.some(({ error }) => error?.includes('its compensation failed: not now'))).toBe(true)
    expect((await intents(handle.runId))[0]).toMatchObject({ participant: 'ledger', attempt: 1, state: 'compensating' })
    await runtime.database.query(`update concordat.participant_intents set due_at = now() where run_id = $1`, [
      handle.runId,
    ])
    const states = await until(
      () => intents(handle.runId),
      (rows) => rows.every(({ state }) => state === 'settled' || state === 'compensated'),
    )
    expect(states[0]).toMatchObject({ participant: 'ledger', attempt: 1, state: 'compensated' })
    expect(ledger.compensate).toHaveBeenCalledTimes(2)
  })

  it('whose completion died before the commit are undone by the sweep', async () => {
    // The row that a process leaves which is killed between the action and its commit.
    const handle = await submit()
    const run = await runtime.ended(handle)
    expect(successAcks(run)).toEqual(FIVE_ACKS)
    await runtime.database.query(
      `insert into concordat.participant_intents (tenant_id, run_id, attempt, participant, state, detail, due_at)
       values ('default', $1, 9, 'ledger', 'intended', '{"receipt": 9}', now())`,
      [handle.runId],
    )
    await until(
      () => intents(handle.runId),
      (rows) => rows.some(({ attempt, state }) => attempt === 9 && state === 'compensated'),
    )
    expect(ledger.compensate).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ attempt: 9 }), { receipt: 9 })
    const acks = async () => (await runtime.runs.get('default', handle.runId)).acks
    const rolledBack = await until(acks, (all) => all.some(({ status }) => status === 'ROLLED_BACK'))
    expect(rolledBack.at(-1)).toMatchObject({
      domain: 'participant:ledger',
      attempt: 9,
      error: 'its completion died before the commit',
    })
    expect((await runtime.concordat.audit.reconcile('default', handle.runId)).result).toBe('COMPLETE')
  })

  it('whose time ran out while they acted refuse to commit what the sweep has undone, and try again', async () => {
    ledger.second.mockImplementationOnce(async (run) => {
      await runtime.database.query(`update concordat.participant_intents set due_at = now() where run_id = $1`, [
        run.runId,
      ])
      await until(
        () => intents(run.runId),
        (rows) => rows.some(({ participant, state }) => participant === 'ledger' && state === 'compensated'),
      )
      return null
    })
    const run = await runtime.ended(await submit())
    expect(successAcks(run)).toEqual(FIVE_ACKS)
    expect(ledger.act).toHaveBeenCalledTimes(2)
    const states = (await intents(run.runId)).filter(({ participant }) => participant === 'ledger')
    expect(states.map(({ state }) => state)).toEqual(['compensated', 'settled'])
  })

  it('are not undone when only the reply to their commit was lost', async () => {
    let lost = 0
    const remove = runtime.database.intercept(({ statement, before }) => {
      if (statement !== 'committed' || !before.includes('runs_finish') || lost++ > 0) return
      throw Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' })
    })
    const run = await runtime.ended(await submit())
    await until(
      async () => runtime.concordat.worker.active,
      (active) => active === 0,
    )
    remove()
    expect(lost).toBe(1)
    expect(ledger.compensate).not.toHaveBeenCalled()
    expect((await intents(run.runId)).map(({ state }) => state)).toEqual(['settled', 'settled'])
    expect(await written(run.runId)).toEqual(['succeeded'])
    expect(eventCounts(run)).toEqual(eventsOfEnded('run.completed'))
  })
})
