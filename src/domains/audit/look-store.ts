import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'

interface RunKeys {
  readonly tenantId: string
  readonly runId: string
}

/**
 * SQL of the insert that has runs looked at when they are due, or before if that was asked for; its rows are a select of
 * tenant_id, run_id and due_at.
 */
export function askForLooksSql(rows: string): string {
  // One that failed while the run went on may be put off for longer.
  return `insert into concordat.audit_looks as look (tenant_id, run_id, due_at) ${rows}
   on conflict (tenant_id, run_id) do update set due_at = excluded.due_at where look.due_at > excluded.due_at`
}

const KEYS = rowSet<RunKeys>({ tenant_id: ['text', (run) => run.tenantId], run_id: ['uuid', (run) => run.runId] })

/* As long again as it has been wrong: what is put right soon is seen soon, and what stays wrong costs little. */
const ASK_AGAIN = statement(
  'audit_looks_ask_again',
  askForLooksSql(`select x.tenant_id, x.run_id, clock_timestamp() + least(interval '${limits.lookAgainMsMax} ms',
            greatest(interval '${limits.lookAgainMsMin} ms', clock_timestamp() - r.reconciled_at))
     from ${KEYS.from(1)} as x
    cross join lateral (
      select o.reconciled_at from concordat.reconciliations o
       where o.tenant_id = x.tenant_id and o.run_id = x.run_id limit 1) r`),
)

/** Has runs with which something is wrong looked at again by and by: half a minute later at first, then up to 5 min. */
export async function askForLooksAgain(tx: Tx, runs: readonly RunKeys[]): Promise<void> {
  if (runs.length > 0) await tx.query(ASK_AGAIN, KEYS.values(runs))
}

/*
 * With their runs, whoever has one of these apart: others lock a run and then ask for a look at it, and would wait for
 * this one, which would wait for them.
 */
const TAKE = statement(
  'audit_looks_take',
  `with due as (
     select ctid as address, tenant_id, run_id from concordat.audit_looks where due_at <= statement_timestamp()
      order by due_at limit $1 for update skip locked
   ), free as (
     select due.address from due
      cross join lateral (
        select from concordat.runs r where r.tenant_id = due.tenant_id and r.run_id = due.run_id
         limit 1 for no key update skip locked) run
     union all
     select address from due
      where (select true from concordat.runs r where r.tenant_id = due.tenant_id and r.run_id = due.run_id limit 1) is null
   )
   delete from concordat.audit_looks where ctid = any (array(select address from free))
   returning tenant_id as "tenantId", run_id as "runId"`,
)

/**
 * Takes runs that are to be held against their contracts: they have ended, something is wrong with them, or somebody has added,
 * changed or deleted a record of them, or their very row. Those that others have are skipped. The runs are locked.
 */
export async function takeLooks(tx: Tx, max: number): Promise<RunKeys[]> {
  return tx.query<RunKeys>(TAKE, [max])
}

/* As long again as it has been wrong. */
const DEFER = statement(
  'audit_looks_defer',
  `insert into concordat.audit_looks as look (tenant_id, run_id, due_at)
   values ($1, $2, clock_timestamp() + interval '${limits.reconcileRetryMsMin} ms')
   on conflict (tenant_id, run_id) do update
     set due_at = clock_timestamp() + least(interval '${limits.reconcileRetryMsMax} ms',
           greatest(interval '${limits.reconcileRetryMsMin} ms', clock_timestamp() - look.asked_at))`,
)

/** Puts off a look that failed: 5 s at first, later up to 5 min. */
export async function deferLook(tx: Tx, { tenantId, runId }: RunKeys): Promise<void> {
  await tx.query(DEFER, [tenantId, runId])
}
