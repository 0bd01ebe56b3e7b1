import { beforeAll, expect, it } from 'vitest'
import { defineAgent, type ObservabilityMode } from '../../src/index.ts'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'
import { endingOf, eventCounts, FIVE_ACKS, successAcks } from './support/footprint.ts'

/** `input` says which part of its trace can't be written: see the triggers. */
const traced = defineAgent<string>({
  name: 'traced',
  version: '1',
  async run({ step }) {
    await step.record({ kind: 'tool', name: 'one', input: 'in', output: 'out', tokensIn: 5 })
    return step.do('two', () => 'kept')
  },
})

const TRIGGERS = [
  `create function part(run uuid) returns text language sql as
     $$ select input #>> '{}' from concordat.runs where run_id = run $$`,
  `create function refuse_step_trace() returns trigger language plpgsql as
     $$ begin if part(new.run_id) = 'no steps' then raise 'no room for traces'; end if; return new; end $$`,
  `create trigger refuse_step_trace before insert or update on concordat.steps
     for each row when (new.input is not null) execute function refuse_step_trace()`,
  `create function refuse_trace() returns trigger language plpgsql as
     $$ begin if part(new.run_id) = 'no start' then raise 'no room for traces'; end if; return new; end $$`,
  `create trigger refuse_trace before insert on concordat.traces
     for each row when (not new.started_late) execute function refuse_trace()`,
]

describeOnDatabases('a trace that can’t be written', (open) => {
  const runtimes = new Map<ObservabilityMode, TestRuntime>()
  beforeAll(async () => {
    for (const observabilityMode of ['DEGRADED', 'PERMISSIVE', 'STRICT'] as const) {
      const config = { governanceProfile: undefined, transactionCoordinatorEnabled: true, observabilityMode }
      const runtime = await open({ agents: [traced], config })
      for (const sql of TRIGGERS) await runtime.database.query(sql)
      runtimes.set(observabilityMode, runtime)
    }
  })

  const run = async (mode: ObservabilityMode, input: string) => {
    const runtime = runtimes.get(mode)!
    return runtime.ended(await runtime.runs.submit({ tenant: 'default', agent: 'traced', input }))
  }

  it.each([
    ['DEGRADED', 'DEGRADED'],
    ['PERMISSIVE', 'NONE'],
  ] as const)(
    'in mode %s: the run goes on, says %s, and shows each gap with its reason',
    async (mode, observability) => {
      const [whole, gapped] = await Promise.all([run(mode, 'fine'), run(mode, 'no steps')])
      expect(whole).toMatchObject({ status: 'succeeded', observability: 'FULL', incident: { outcome: 'SUCCESS' } })
      expect(gapped).toMatchObject({ status: 'succeeded', observability, output: 'kept' })
      expect(endingOf(gapped)).toMatchObject({ incident: 'PARTIAL', trace: 'COMPLETE', event: 'run.completed' })
      expect(gapped.trace).toMatchObject({ stepCount: 2, gapCount: 2 })
      expect(
        gapped.steps.map(({ key, output, input, tokensIn, traceGap }) => ({ key, output, input, tokensIn, traceGap })),
      ).toEqual([
        { key: 'one#1', output: 'out', input: null, tokensIn: null, traceGap: 'no room for traces' },
        { key: 'two#1', output: 'kept', input: null, tokensIn: null, traceGap: 'no room for traces' },
      ])
      expect(successAcks(gapped)).toEqual(FIVE_ACKS)
    },
  )

  it('in mode STRICT: the run fails with OBSERVABILITY; the checkpoint is kept', async () => {
    const [whole, gapped] = await Promise.all([run('STRICT', 'fine'), run('STRICT', 'no steps')])
    expect(whole.status).toBe('succeeded')
    expect(endingOf(gapped)).toMatchObject({
      status: 'failed',
      reason: 'OBSERVABILITY',
      incident: 'FAILURE',
      event: 'run.failed',
    })
    expect(gapped.steps).toMatchObject([{ key: 'one#1', status: 'succeeded', traceGap: 'no room for traces' }])
    expect(successAcks(gapped)).toEqual(FIVE_ACKS)
  })

  it('at all, not even its start: the end inserts it late, and acknowledges both', async () => {
    const gapped = await run('DEGRADED', 'no start')
    expect(gapped).toMatchObject({
      status: 'succeeded',
      observability: 'DEGRADED',
      trace: { startedLate: true, ending: 'COMPLETE' },
    })
    expect(successAcks(gapped)).toEqual(FIVE_ACKS)
    expect(eventCounts(gapped)).toMatchObject({ 'run.started': 1, 'run.completed': 1 })
    const strict = await run('STRICT', 'no start')
    expect(endingOf(strict)).toMatchObject({ status: 'failed', reason: 'OBSERVABILITY' })
    expect(strict.steps).toEqual([])
    expect(successAcks(strict)).toEqual(FIVE_ACKS)
  })

  it('several times in a row is not tried any more for a while, and the gaps say so', async () => {
    const runtime = runtimes.get('PERMISSIVE')!
    for (let i = 0; i < 3; i++) await run('PERMISSIVE', 'no steps')
    let tried = 0
    const remove = runtime.database.intercept(({ statement }) => {
      if (statement.startsWith('runs_claim_and_start')) tried++
    })
    const untried = await run('PERMISSIVE', 'fine')
    remove()
    expect(tried).toBe(0)
    expect(untried).toMatchObject({
      status: 'succeeded',
      observability: 'NONE',
      output: 'kept',
      trace: { startedLate: true, ending: 'COMPLETE' },
    })
    expect(untried.steps.map(({ traceGap }) => traceGap)).toEqual(
      Array(2).fill('the trace store is failing, not tried'),
    )
    expect(successAcks(untried)).toEqual(FIVE_ACKS)
    expect(await runtime.concordat.metrics.text()).toMatch(/concordat_trace_gaps_total [1-9]/)
  })
})
