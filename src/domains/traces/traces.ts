import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'

export type TraceEnding = 'COMPLETE' | 'ABORTED'

/** The trace of a run as its end leaves it. One a run: steps are its spans. */
export interface TraceEnd {
  readonly tenantId: string
  readonly runId: string
  readonly ending: TraceEnding
  readonly endedAt: Date
  readonly stepCount: number
  readonly gapCount: number
  /** True when no trace was started with the run: the end inserts it, marked `started_late`. */
  readonly startedLate: boolean
}

export interface Trace {
  readonly traceId: string
  readonly startedAt: Date
  readonly startedLate: boolean
  readonly ending: TraceEnding | null
  readonly endedAt: Date | null
  readonly stepCount: number | null
  readonly gapCount: number | null
}

/** A UUID without its dashes is a valid W3C trace id, so a run's trace is found by its run id in any tracing tool. */
export function traceIdOf(runId: string): string {
  return runId.replaceAll('-', '')
}

/** The same in SQL, of a column `run_id`. */
export const TRACE_ID_SQL = `replace(run_id::text, '-', '')`

const ENDS = rowSet<TraceEnd>({
  tenant_id: ['text', (end) => end.tenantId],
  run_id: ['uuid', (end) => end.runId],
  ending: ['text', (end) => end.ending],
  ended_at: ['timestamptz', (end) => end.endedAt],
  step_count: ['int', (end) => end.stepCount],
  gap_count: ['int', (end) => end.gapCount],
})

const COMPLETE = statement(
  'traces_complete',
  `with completed as (
   update concordat.traces t
      set ending = x.ending, ended_at = x.ended_at, step_count = x.step_count, gap_count = x.gap_count
     from ${ENDS.from(2)} as x
    cross join lateral (
      select a.ctid as address from concordat.traces a where a.tenant_id = x.tenant_id and a.run_id = x.run_id limit 1) a
    where t.ctid = a.address and t.ending is null
   returning 1)
   select concordat.require_rows(count(*), $1, 'open traces') from completed`,
)

const INSERT_ENDED = statement(
  'traces_insert_ended',
  `insert into concordat.traces (${ENDS.names}, trace_id, started_at, started_late)
   select x.*, ${TRACE_ID_SQL}, x.ended_at, true from ${ENDS.from(1)} as x`,
)

interface TraceRow {
  trace_id: string
  started_at: Date
  started_late: boolean
  ending: TraceEnding | null
  ended_at: Date | null
  step_count: number | null
  gap_count: number | null
}

/** The traces domain's one public face for the flow. Its domain name in the audit contract is `logs`. */
export const TraceFacade = Object.freeze({
  /** SQL of the insert that starts traces; its rows are a select of tenant_id, run_id, trace_id and started_at. */
  startSql(rows: string): string {
    return `insert into concordat.traces (tenant_id, run_id, trace_id, started_at) ${rows}`
  },

  /** Ends the traces of many runs; one that was never started is inserted now. A trace that has ended already is an error. */
  async complete(tx: Tx, ends: readonly TraceEnd[]): Promise<void> {
    const started = ends.filter((end) => !end.startedLate)
    const late = ends.filter((end) => end.startedLate)
    await Promise.all([
      started.length > 0 ? tx.query(COMPLETE, [started.length, ...ENDS.values(started)]) : [],
      late.length > 0 ? tx.query(INSERT_ENDED, ENDS.values(late)) : [],
    ])
  },

  async ofRun(tx: Tx, { tenantId, runId }: { tenantId: string; runId: string }): Promise<Trace | null> {
    const [row] = await tx.query<TraceRow>(
      `select trace_id, started_at, started_late, ending, ended_at, step_count, gap_count
         from concordat.traces where tenant_id = $1 and run_id = $2`,
      [tenantId, runId],
    )
    if (!row) return null
    return {
      traceId: row.trace_id,
      startedAt: row.started_at,
      startedLate: row.started_late,
      ending: row.ending,
      endedAt: row.ended_at,
      stepCount: row.step_count,
      gapCount: row.gap_count,
    }
  },
})
