import type { RunReport } from '../../../src/surface/library/run-report.ts'

/** A run's end as the table of outcomes tells it. */
export function endingOf(run: RunReport) {
  return {
    status: run.status,
    phase: run.phase,
    reason: run.reason,
    incident: run.incident?.outcome ?? null,
    evaluation: run.evaluation?.verdict.outcome ?? null,
    trace: run.trace?.ending ?? null,
    event: ownEvents(run).at(-1)?.type ?? null,
  }
}

/** `domain/action` of every SUCCESS ack, sorted: for a whole footprint these five, each once. */
export function successAcks(run: RunReport): string[] {
  return run.acks
    .filter((ack) => ack.status === 'SUCCESS')
    .map((ack) => `${ack.domain}/${ack.action}`)
    .toSorted()
}

export const FIVE_ACKS = [
  'incidents/create_incident',
  'logs/complete_trace',
  'logs/start_trace',
  'orchestrator/finalize_run',
  'policies/evaluate_policy',
]

/** The phases that a run went through, as `FROM→TO`. */
export function walked(run: RunReport): string[] {
  return run.transitions.map(({ from, to }) => `${from ?? ''}→${to}`)
}

export const WALK_TO_COMPLETED = [
  '→CREATED',
  'CREATED→AUTHORIZED',
  'AUTHORIZED→EXECUTING',
  'EXECUTING→GOVERNANCE_CHECK',
  'GOVERNANCE_CHECK→FINALIZING',
  'FINALIZING→COMPLETED',
]

export const WALK_TO_FAILED = ['→CREATED', 'CREATED→AUTHORIZED', 'AUTHORIZED→EXECUTING', 'EXECUTING→FAILED']

/** The run's events without those of its audit, which come when it is due. */
export function ownEvents(run: RunReport): RunReport['events'] {
  return run.events.filter(({ type }) => !/^(audit|alert)\./.test(type))
}

/** How often each type of event is in the run's outbox rows, but for those of its audit. */
export function eventCounts(run: RunReport): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { type } of ownEvents(run)) counts[type] = (counts[type] ?? 0) + 1
  return counts
}

/** The events of a run that executed and was not stopped. */
export function eventsOfEnded(last: 'run.completed' | 'run.failed'): Record<string, number> {
  const types = [
    'run.created',
    'run.started',
    'trace.started',
    'incident.created',
    'policy.evaluated',
    'trace.completed',
  ]
  return Object.fromEntries([...types, last].map((type) => [type, 1]))
}
