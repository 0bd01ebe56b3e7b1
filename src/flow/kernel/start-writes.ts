import { ACTIONS, ackSuccessSql } from '../../domains/audit/audit.ts'
import { TRACE_ID_SQL, TraceFacade } from '../../domains/traces/traces.ts'
import { appendEventsSql, type EventSql, jsonTextSql } from '../../foundation/events/events.ts'

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
  const fresh = `fresh as (
     select *, ${TRACE_ID_SQL} as trace_id, ${at}::text as at from ${claimed} where fresh
   )`
  const started = jsonTextSql({ agent: 'agent', agentVersion: 'agent_version', workerId: 'worker_id' })
  const runStarted = { type: 'run.started', time: 'at', data: started } as const
  const traceStarted = { type: 'trace.started', time: 'at', data: jsonTextSql({ traceId: 'trace_id' }) } as const
  const trace = TraceFacade.startSql('select tenant_id, run_id, trace_id, at::timestamptz from fresh')
  const ack = ackSuccessSql(ACTIONS.startTrace, 'select tenant_id, run_id, trace_id, at::timestamptz from fresh')
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
