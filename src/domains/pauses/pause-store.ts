import type { Json } from '../../foundation/json.ts'
import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import type { Authority, PauseReason } from './pause-rules.ts'
import type { PauseSchedule } from './pause-schedule.ts'

interface RunKey {
  readonly tenantId: string
  readonly runId: string
}

/** A pause as it begins. */
export interface NewPause extends RunKey, PauseSchedule {
  readonly pauseId: string
  readonly reason: PauseReason
  readonly message: string
  /** What led to it, as policies and violations; null where the message says all. */
  readonly detail: Json
  readonly approvers: readonly Authority[] | null
  readonly pausedBy: string
  readonly pausedAs: Authority
  readonly pausedAt: Date
  readonly resumeAt: Date | null
}

/** How a pause ended: somebody resumed it, the run was stopped, or its time was over and its run ended for that. */
export type PauseEnding = 'RESUMED' | 'STOPPED' | 'TIMED_OUT'

/** An attempt to resume that was refused. */
export interface ResumeRefusal {
  readonly at: string
  readonly by: string
  readonly as: Authority
  readonly why: string
}

/** A pause as it is stored. `endedAt` null: it lasts. */
export interface Pause extends NewPause {
  readonly warnedAt: Date | null
  readonly escalatedAt: Date | null
  /** The latest of them. */
  readonly refusals: readonly ResumeRefusal[]
  readonly endedAt: Date | null
  readonly endedHow: PauseEnding | null
  readonly resumedBy: string | null
  readonly resumedAs: Authority | null
  readonly note: string | null
}

const INSERT = statement(
  'pauses_insert',
  `insert into concordat.pauses (tenant_id, run_id, pause_id, reason, message, detail, approvers, paused_by, paused_as,
                                 paused_at, warn_at, timeout_at, on_timeout, resume_at)
   values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
)

/** Begins a pause. Fails when one of the run lasts already. */
export async function insertPause(tx: Tx, pause: NewPause): Promise<void> {
  const { tenantId, runId, pauseId, reason, message, detail, approvers, pausedBy, pausedAs } = pause
  const { pausedAt, warnAt, timeoutAt, onTimeout, resumeAt } = pause
  const times = [pausedAt, warnAt, timeoutAt].map((at) => at?.toISOString() ?? null)
  const why = [reason, message, detail === null ? null : JSON.stringify(detail), approvers, pausedBy, pausedAs]
  await tx.query(INSERT, [tenantId, runId, pauseId, ...why, ...times, onTimeout, resumeAt?.toISOString() ?? null])
}

const PAUSES = rowSet<RunKey>({ tenant_id: ['text', (run) => run.tenantId], run_id: ['uuid', (run) => run.runId] })

const COLUMNS = `p.tenant_id as "tenantId", p.run_id as "runId", p.pause_id as "pauseId", p.reason, p.message, p.detail,
          p.approvers, p.paused_by as "pausedBy", p.paused_as as "pausedAs", p.paused_at as "pausedAt", p.warn_at as "warnAt",
          p.timeout_at as "timeoutAt", p.on_timeout as "onTimeout", p.resume_at as "resumeAt", p.warned_at as "warnedAt",
          p.escalated_at as "escalatedAt", p.refusals, p.ended_at as "endedAt", p.ended_how as "endedHow",
          p.resumed_by as "resumedBy", p.resumed_as as "resumedAs", p.note`

const OPEN = statement(
  'pauses_open',
  `select ${COLUMNS} from ${PAUSES.from(1)} as x
    cross join lateral (
      select * from concordat.pauses p
       where p.tenant_id = x.tenant_id and p.run_id = x.run_id and p.ended_at is null limit 1) p`,
)
const OF_RUN = statement(
  'pauses_of_run',
  `select ${COLUMNS} from concordat.pauses p where p.tenant_id = $1 and p.run_id = $2 order by p.paused_at, p.pause_id`,
)

type Row = Omit<Pause, 'detail'> & { readonly detail: string | null }

function toPause(row: Row): Pause {
  return { ...row, detail: row.detail === null ? null : (JSON.parse(row.detail) as Json) }
}

/** The pauses that last, of those of the runs that are paused. */
export async function openPauses(tx: Tx, runs: readonly RunKey[]): Promise<Pause[]> {
  return (await tx.query<Row>(OPEN, PAUSES.values(runs))).map(toPause)
}

/** All pauses of a run, the oldest first. */
export async function pausesOfRun(tx: Tx, { tenantId, runId }: RunKey): Promise<Pause[]> {
  return (await tx.query<Row>(OF_RUN, [tenantId, runId])).map(toPause)
}

/** What a pause's row gets when it ends. The last three are null unless somebody resumed it. */
export interface EndedPause extends RunKey {
  readonly endedAt: Date
  readonly endedHow: PauseEnding
  readonly resumedBy: string | null
  readonly resumedAs: Authority | null
  readonly note: string | null
}

const ENDED = rowSet<EndedPause>({
  tenant_id: ['text', (pause) => pause.tenantId],
  run_id: ['uuid', (pause) => pause.runId],
  ended_at: ['timestamptz', (pause) => pause.endedAt],
  ended_how: ['text', (pause) => pause.endedHow],
  resumed_by: ['text', (pause) => pause.resumedBy],
  resumed_as: ['text', (pause) => pause.resumedAs],
  note: ['text', (pause) => pause.note],
})
const END = statement(
  'pauses_end',
  `update concordat.pauses p
      set ended_at = x.ended_at, ended_how = x.ended_how, resumed_by = x.resumed_by, resumed_as = x.resumed_as, note = x.note
     from ${ENDED.from(1)} as x
    cross join lateral (
      select o.ctid as address from concordat.pauses o
       where o.tenant_id = x.tenant_id and o.run_id = x.run_id and o.ended_at is null limit 1) o
    where p.ctid = o.address`,
)

/** Ends the pauses of runs that the caller has locked; a run that has none that lasts is left out. */
export async function endPauses(tx: Tx, pauses: readonly EndedPause[]): Promise<void> {
  if (pauses.length > 0) await tx.query(END, ENDED.values(pauses))
}

const END_OF_CHILDREN = statement(
  'pauses_end_of_children',
  `update concordat.pauses p
      set ended_at = $3, ended_how = 'STOPPED'
     from concordat.runs c
    where c.tenant_id = $1 and c.parent_run_id = $2 and c.stop is not null
      and p.tenant_id = c.tenant_id and p.run_id = c.run_id and p.ended_at is null`,
)

/** Ends the pauses of the runs that this one has started and that are stopped with it. */
export async function endPausesOfChildren(tx: Tx, { tenantId, runId }: RunKey, at: Date): Promise<void> {
  await tx.query(END_OF_CHILDREN, [tenantId, runId, at.toISOString()])
}

const MARK = statement(
  'pauses_mark',
  `update concordat.pauses p
      set warned_at = case when $3 = 'WARN' then $4::timestamptz else warned_at end,
          escalated_at = case when $3 = 'ESCALATE' then $4::timestamptz else escalated_at end
     from ${PAUSES.from(1)} as x
    cross join lateral (
      select o.ctid as address from concordat.pauses o
       where o.tenant_id = x.tenant_id and o.run_id = x.run_id and o.ended_at is null limit 1) o
    where p.ctid = o.address`,
)

/** Notes that people were warned of the pauses, or that they are left to operators. */
export async function markPauses(tx: Tx, runs: readonly RunKey[], as: 'WARN' | 'ESCALATE', at: Date): Promise<void> {
  if (runs.length > 0) await tx.query(MARK, [...PAUSES.values(runs), as, at.toISOString()])
}

/** An attempt to resume the run's pause. */
export interface RefusedResume extends RunKey {
  readonly refusal: ResumeRefusal
}

const REFUSED = rowSet<RefusedResume>({
  tenant_id: ['text', ({ tenantId }) => tenantId],
  run_id: ['uuid', ({ runId }) => runId],
  refusal: ['jsonb', ({ refusal }) => JSON.stringify([refusal])],
})
/** Keeps the latest refusals: who tries again and again must not make the row grow. */
const REFUSE = statement(
  'pauses_refuse',
  `update concordat.pauses p
      set refusals = case when jsonb_array_length(p.refusals) < $1::int then p.refusals else p.refusals - 0 end || x.refusal
     from ${REFUSED.from(2)} as x
    cross join lateral (
      select o.ctid as address from concordat.pauses o
       where o.tenant_id = x.tenant_id and o.run_id = x.run_id and o.ended_at is null limit 1) o
    where p.ctid = o.address`,
)

/** Records attempts to resume that were refused. */
export async function recordRefusals(tx: Tx, refused: readonly RefusedResume[]): Promise<void> {
  if (refused.length > 0) await tx.query(REFUSE, [limits.pauseRefusalsMax, ...REFUSED.values(refused)])
}
