import { describe, expect, test } from 'vitest'
import { ACTIONS, ackOf, declareContract, type StoredAck } from '../../domains/audit/audit.ts'
import type { RunReport, StepReport } from '../library/library.ts'
import { runLines } from './run-view.ts'

const plain = (_style: unknown, text: string) => text
const at = (ms: number) => new Date(Date.UTC(2026, 0, 31, 8) + ms)
const runId = '01a20000-0000-7000-8000-00000000000a'

const declared = declareContract({ actionMs: 5_000, runTimeoutMs: 60_000, finalizeGraceMs: 5_000 }).expectations
const expectations: RunReport['expectations'] = declared.map((expectation) => ({
  ...expectation,
  dueAt: at(5_000),
  status: 'ACKED',
  overdue: false,
}))

function ack(action: keyof typeof ACTIONS, status: StoredAck['status'], ms: number): StoredAck {
  return { runId, ackedAt: at(ms), ...ackOf(ACTIONS[action], status) }
}

function step(fields: Partial<StepReport>): StepReport {
  return {
    key: 'fetch#1',
    seq: 1,
    kind: 'tool',
    name: 'fetch',
    status: 'succeeded',
    attempt: 1,
    dueAt: null,
    startedAt: at(0),
    endedAt: at(1_000),
    latencyMs: null,
    tokensIn: null,
    tokensOut: null,
    costUsd: null,
    inputDigest: '',
    inputSize: null,
    outputSize: null,
    traceGap: null,
    input: null,
    output: null,
    error: null,
    attributes: null,
    ...fields,
  }
}

/** A run that is executing, unless the fields say otherwise. */
function report(fields: Partial<RunReport>): RunReport {
  return {
    tenantId: 'default',
    runId,
    agent: 'triage',
    agentVersion: '1',
    phase: 'EXECUTING',
    status: 'running',
    outcome: null,
    waiting: null,
    reason: null,
    priority: 0,
    readyAt: null,
    dueAt: null,
    workerId: null,
    leaseToken: 1,
    workerLosses: 0,
    timeoutMs: 60_000,
    activeMs: 0,
    activeSince: null,
    executionStartedAt: at(0),
    executionEndedAt: null,
    stop: null,
    paused: false,
    pauseRequest: null,
    policiesAsOf: null,
    pauses: [],
    pending: null,
    transitions: [
      { from: null, to: 'CREATED', at: at(0).toISOString(), why: 'submitted' },
      { from: 'CREATED', to: 'AUTHORIZED', at: at(2).toISOString(), why: 'admitted' },
    ],
    observability: 'FULL',
    idempotencyKey: null,
    createdAt: at(0),
    endedAt: null,
    input: null,
    output: null,
    error: null,
    metadata: null,
    steps: [],
    incident: null,
    evaluation: null,
    violations: [],
    budgets: [],
    trace: null,
    expectations,
    acks: [],
    reconciliation: null,
    alerts: [],
    children: [],
    parentRunId: null,
    parentStepKey: null,
    rootRunId: null,
    depth: 0,
    waits: [],
    signals: [],
    events: [],
    ...fields,
  } as RunReport
}

function shown(fields: Partial<RunReport>, { columns = 120, unclaimedBecause = null as string | null } = {}): string {
  const view = { report: report(fields), now: at(10_000), unclaimedBecause }
  return runLines({ columns, style: plain }, view).join('\n')
}

describe('a run is read as a person wants it', () => {
  test('phases have times, and the present one goes on', () => {
    expect(shown({})).toContain('  CREATED     08:00:00.000      2 ms  submitted')
    expect(shown({})).toContain('  AUTHORIZED  08:00:00.002  10.0 s …  admitted')
  })

  test('steps are a waterfall on their own time', () => {
    const steps = [
      step({}),
      step({
        key: 'think#1',
        status: 'failed',
        startedAt: at(1_000),
        endedAt: at(4_000),
        attempt: 3,
        error: { message: 'no\u001b[2J way' },
      }),
      step({ key: 'ask#1', startedAt: at(2_000), endedAt: at(2_001), tokensIn: 1_200, tokensOut: 45, costUsd: 0.0125 }),
    ]
    const lines = shown({ steps }, { columns: 94 }).split('\n')
    const [title, , fetch, think, ask] = lines.slice(lines.findIndex((line) => line.startsWith('Steps')))
    expect(title).toBe('Steps  3 · 1 failed · 1,200 tokens in, 45 out · $0.0125')
    expect(fetch).toMatch(/^ {2}✓ {2}fetch#1 {2}█{7} +1\.00 s$/)
    expect(think).toMatch(/^ {2}✗ {2}think#1 {2} {7}█{21} +3\.00 s +try 3 · no way$/)
    expect(ask).toMatch(/^ {2}✓ {2}ask#1 {4} {14}█ +1 ms +1,200→45 +\$0\.0125$/)
  })

  test('a step that was cut off ends with the run', () => {
    const steps = [step({ status: 'started', endedAt: null })]
    expect(shown({ steps, endedAt: at(2_000), status: 'cancelled', phase: 'FAILED' })).toMatch(
      /▸ {2}fetch#1 {2}█+ {2}2\.00 s/,
    )
  })

  test('fits 80 columns', () => {
    const steps = Array.from({ length: 300 }, (_, i) => step({ key: `${'name '.repeat(20)}#${i}`, tokensIn: i }))
    const lines = shown({ steps }, { columns: 80 }).split('\n')
    expect(lines.filter((line) => line.length > 80)).toEqual([])
    expect(lines.join('\n')).toContain('and 100 more steps')
  })
})

describe('a run that does not go on says why', () => {
  test.each<[string, Partial<RunReport>, string]>([
    ['queued', { status: 'queued', phase: 'AUTHORIZED' }, 'a worker, since 2026-01-31 08:00:00.000 UTC'],
    [
      'queued for later',
      { status: 'queued', phase: 'AUTHORIZED', dueAt: at(70_000) },
      'its time: due 2026-01-31 08:01:10.000 UTC, in 1 m 00 s',
    ],
    [
      'that retries',
      { waiting: 'RETRY', dueAt: at(12_000), steps: [step({ status: 'waiting', startedAt: at(500) })] },
      'the next try of a step, due 2026-01-31 08:00:12.000 UTC, in 2.00 s; since 2026-01-31 08:00:00.500 UTC',
    ],
    ['that sleeps', { waiting: 'TIMER', dueAt: at(9_000) }, 'the end of a sleep, due 2026-01-31 08:00:09.000 UTC, now'],
    ['whose worker was lost', { waiting: 'LEASE', workerLosses: 1 }, 'another worker, after its own was lost or ended'],
  ])('%s', (_what, fields, text) => {
    expect(shown(fields)).toContain(`  waits for   ${text}`)
  })

  test('queued while no worker has its agent', () => {
    const view = { unclaimedBecause: 'no worker has agent triage@1' }
    expect(shown({ status: 'queued', phase: 'AUTHORIZED' }, view)).toContain(': no worker has agent triage@1')
  })

  test('blocked by a domain that refuses', () => {
    const end = {
      outcome: 'succeeded',
      reason: 'DONE',
      message: '',
      error: null,
      output: null,
      lastStepRecorded: true,
    } as const
    const pending = {
      end,
      attempts: 3,
      blockedBy: 'incidents',
      phaseReached: 'NOT_STARTED',
      error: 'incidents refused after NOT_STARTED: disk full',
    }
    expect(shown({ phase: 'FINALIZING', pending, dueAt: at(11_000) })).toContain(
      '  blocked     incidents refused after NOT_STARTED: disk full; 3 tries, next try in 1.00 s',
    )
    const stale = {
      ...pending,
      attempts: 0,
      blockedBy: null,
      error: null,
      end: { ...end, reason: 'RUN_STALE' },
    } as const
    expect(shown({ pending: stale, dueAt: at(10_000) })).toContain(
      '  ends        as succeeded (RUN_STALE), as soon as a worker completes it; next try now',
    )
  })

  test('stopped, with how long each part of it took', () => {
    const stop = {
      kind: 'stop' as const,
      requestedAt: at(1_000).toISOString(),
      by: 'Eve',
      why: 'enough',
      deliveredAt: at(1_002).toISOString(),
      confirmedAt: null,
      state: 'unconfirmed' as const,
    }
    expect(shown({ stop })).toContain(
      'requested by Eve (enough) 2026-01-31 08:00:01.000 UTC, delivered after 2 ms, unconfirmed',
    )
  })
})

describe('the contract', () => {
  test('shows acks that came late, were rolled back, came twice, or that nobody expected', () => {
    const acks = [
      ack('startTrace', 'SUCCESS', 1),
      ack('createIncident', 'ROLLED_BACK', 2),
      ack('createIncident', 'SUCCESS', 6_000),
      ack('evaluatePolicy', 'SUCCESS', 3),
      ack('evaluatePolicy', 'SUCCESS', 4),
      { ...ack('finalizeRun', 'SUCCESS', 5), domain: 'elsewhere' },
      { ...ack('finalizeRun', 'FAILED', 6), domain: 'nowhere' },
    ]
    const lines = shown({ acks })
    expect(lines).toMatch(/EXPECTED +WITHIN +FROM +DUE \(UTC\) +ACKED \(UTC\) +LATE +MISSING +DRIFT +FAILED TRIES\n/)
    const [head = '', ...rows] = lines.slice(lines.indexOf('EXPECTED') - 2).split('\n')
    const tries = rows.flatMap((row) => row.slice(head.indexOf('FAILED TRIES')).trim() || [])
    expect(tries, 'none is in the column of drift').toEqual(['1 × ROLLED_BACK', '1 × FAILED'])
    expect(lines).toMatch(/incidents\/create_incident .* 08:00:06\.000 {2}\+1\.00 s +1 × ROLLED_BACK/)
    expect(lines).toMatch(/policies\/evaluate_policy .* 08:00:00\.003 +2 times/)
    expect(lines).toMatch(/elsewhere\/finalize_run +08:00:00\.005 +unexpected/)
    const reconciliation = { result: 'COMPLETE' as const, findings: [], reconciledAt: at(0) }
    expect(shown({ acks, reconciliation }), 'what came after the last look').toContain('COMPLETE  2 drifted since')
  })

  test('shows times so that WITHIN leads to DUE, and what they count from', () => {
    const within = expectations.map((each) => ({ ...each, deadlineMs: 3_605_000, dueAt: at(3_605_000) }))
    const lines = shown({ expectations: within })
    expect(lines).toMatch(/orchestrator\/finalize_run +1 h 00 m 05 s {2}start {2}09:00:05\.000/)
    expect(lines).toMatch(/incidents\/create_incident +1 h 00 m 05 s {2}end {4}09:00:05\.000/)
  })

  test('shows what is missing though the last look has found nothing', () => {
    const reconciliation = { result: 'COMPLETE' as const, findings: [], reconciledAt: at(0) }
    const now = expectations.map((each, i) => ({ ...each, status: i < 2 ? ('MISSING' as const) : each.status }))
    expect(shown({ expectations: now, reconciliation })).toContain('Contract  COMPLETE  2 missing since')
  })

  test('shows what is overdue and what the reconciliation found', () => {
    const pending = expectations.map((expectation) => ({ ...expectation, status: 'PENDING' as const, overdue: true }))
    const findings = [{ kind: 'missing' as const, domain: 'logs', action: 'start_trace', detail: 'never acknowledged' }]
    const reconciliation = { result: 'INCOMPLETE' as const, findings, reconciledAt: at(0) }
    const lines = shown({ expectations: pending, reconciliation })
    expect(lines).toContain('Contract  INCOMPLETE  5 overdue')
    expect(lines).toMatch(/logs\/start_trace .* pending +overdue/)
    expect(lines).toContain('missing  logs/start_trace: never acknowledged')
  })
})
