interface MetricEntry {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly labels: readonly string[]
}

/** Every metric that is exported. Base units; never an id as a label, which would make a series per run. */
export const metricTable = Object.freeze({
  concordat_events_received_total: { type: 'counter', help: 'Events received by the reactor', labels: ['type'] },
  concordat_events_handled_total: { type: 'counter', help: 'Events handled', labels: ['type', 'handler'] },
  concordat_events_failed_total: { type: 'counter', help: 'Event handlings that failed', labels: ['type', 'handler'] },
  concordat_event_handler_duration_seconds: {
    type: 'histogram',
    help: 'Time that a handler took for an event',
    labels: ['type', 'handler'],
  },
  concordat_reactor_heartbeats_total: { type: 'counter', help: 'Heartbeats of the reactor', labels: [] },
  concordat_reactor_lag_events: {
    type: 'gauge',
    help: 'Published events that a handler has not handled yet, in the partitions of this reactor',
    labels: ['handler'],
  },
  concordat_events_malformed_total: { type: 'counter', help: 'Messages received that are no events', labels: [] },
  concordat_streams_refused_total: {
    type: 'counter',
    help: 'Times that Redis refused to write or read a stream of events, as when its key has another type',
    labels: [],
  },
  concordat_events_missed_total: {
    type: 'counter',
    help: 'Events that a handler never got because the outbox no longer has them',
    labels: ['handler'],
  },
  concordat_event_dead_letters_total: {
    type: 'counter',
    help: 'Events that were given up after several failures',
    labels: ['handler'],
  },
  concordat_runs_ended_total: { type: 'counter', help: 'Runs that ended', labels: ['status'] },
  concordat_completion_rollbacks_total: {
    type: 'counter',
    help: 'Completion transactions rolled back, by the phase reached',
    labels: ['phase'],
  },
  concordat_completion_legacy_fallbacks_total: {
    type: 'counter',
    help: 'Runs completed by the legacy path after the transaction failed',
    labels: [],
  },
  concordat_completion_domain_errors_total: {
    type: 'counter',
    help: 'Domains that refused their part of a run on the legacy path',
    labels: ['domain'],
  },
  concordat_trace_gaps_total: { type: 'counter', help: 'Steps and runs whose trace could not be written', labels: [] },
  concordat_policy_checks_total: { type: 'counter', help: 'Policy checks', labels: ['decision'] },
  concordat_policy_check_errors_total: {
    type: 'counter',
    help: 'Policy checks that failed themselves; POLICY_CHECK_ON_ERROR says what followed',
    labels: [],
  },
  concordat_policy_check_duration_seconds: { type: 'histogram', help: 'Time that a policy check took', labels: [] },
  concordat_stop_duration_seconds: {
    type: 'histogram',
    help: 'Time from the request of a stop to its confirmation',
    labels: [],
  },
  concordat_pauses_swept_total: {
    type: 'counter',
    help: 'Pauses of which something was due: RESUME, WARN, TERMINATE, CONTINUE, ESCALATE',
    labels: ['action'],
  },
  concordat_outbox_backlog: { type: 'gauge', help: 'Events not yet published', labels: [] },
  concordat_outbox_oldest_seconds: { type: 'gauge', help: 'Age of the oldest event not yet published', labels: [] },
  concordat_reconciliations_total: { type: 'counter', help: 'Reconciliations', labels: ['result'] },
  concordat_alert_notifications_total: { type: 'counter', help: 'Alert notifications', labels: ['outcome'] },
} as const satisfies Record<string, MetricEntry>)

type MetricTable = typeof metricTable
type NamesOf<Type extends MetricEntry['type']> = {
  [Name in keyof MetricTable]: MetricTable[Name]['type'] extends Type ? Name : never
}[keyof MetricTable]

export type CounterName = NamesOf<'counter'>
export type GaugeName = NamesOf<'gauge'>
export type HistogramName = NamesOf<'histogram'>

/** The labels that a metric takes, each with its value. */
export type LabelsOf<Name extends keyof MetricTable> = Readonly<Record<MetricTable[Name]['labels'][number], string>>
