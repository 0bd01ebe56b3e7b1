import { ACTIONS, ackSuccessSql } from '../../domains/audit/audit.ts'
import { TRACE_ID_SQL, TraceFacade } from '../../domains/traces/traces.ts'
import { appendEventsSql, type EventSql, eventIdSql, jsonTextSql } from '../../foundation/events/events.ts'

/** Of a run with `moment`, the first 15 characters of a UUIDv7 of the time that it was submitted, and `at`, that time. */
export const RUN_CREATED = {
  id: eventIdSql('moment', 'run.created'),
  type: 'run.created',
  time: 'at',
  data: jsonTextSql({ agent: 'agent', agentVersion: 'agent_version', priority: 'priority' }),
} as const satisfies EventSql

export interface StartWrites {
  readonly traced: string
  readonly untraced: string
  /** The insert of the first events alone, for the rows of a table that has what they tell. */
  readonly first: (source: string) => string
}

/**
 * What is written when runs execute for the first time, as further parts of the statement that knows them: their traces
 * with their acks, and their events, `first` before the others. `claimed` is a part of that statement with the runs, `at`
 * the parameter with the time as RFC 3339 text. Without traces, the events alone.
 */
export function startWrites(claimed: string, at: string, first: readonly EventSql[] = []): StartWrites {
  // Sub-selects of their own are computed once for all rows.
  const time = `(select ${at}::text::timestamptz)`
  const fresh = `fresh as (
     select *, ${TRACE_ID_SQL} as trace_id, ${at}::text as at, ${time} as begun,
            (select left(concordat.uuid_v7(${at}::text::timestamptz)::text, 15)) as moment
       from ${claimed} where fresh
   )`
  const started = jsonTextSql({ agent: 'agent', agentVersion: 'agent_version', workerId: 'worker_id' })
  const traced = jsonTextSql({ traceId: 'trace_id' })
  const runStarted = {
    id: eventIdSql('moment', 'run.started'),
    type: 'run.started',
    time: 'at',
    data: started,
  } as const
  const traceStarted = {
    id: eventIdSql('moment', 'trace.started'),
    type: 'trace.started',
    time: 'at',
    data: traced,
  } as const
  const trace = TraceFacade.startSql('select tenant_id, run_id, trace_id, begun from fresh')
  const ack = ackSuccessSql(ACTIONS.startTrace, 'select tenant_id, run_id, trace_id, begun from fresh')
  return {
    traced: `${fresh},
   trace as (${trace}),
   ack as (${ack}),
   event as (${appendEventsSql('fresh', [...first, runStarted, traceStarted])})`,
    untraced: `${fresh},
   event as (${appendEventsSql('fresh', [...first, runStarted])})`,
    first: (source) => appendEventsSql(source, first),
  }
}
