import { plainArray, statement, type Tx, textArray } from '../../foundation/storage/storage.ts'
import type { DomainAck } from './contract.ts'

const INSERT_ACKS = statement(
  'audit_acks_insert',
  `insert into concordat.audit_acks (tenant_id, run_id, domain, action, attempt, status, result_id, error, acked_at)
   select * from unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::int[], $6::text[], $7::text[], $8::text[], $9::timestamptz[])`,
)

export interface RunAcks {
  readonly tenantId: string
  readonly runId: string
  readonly at: Date
  readonly acks: readonly DomainAck[]
}

/** Writes the acks of many runs in one statement. */
export async function writeAcks(tx: Tx, runs: readonly RunAcks[]): Promise<void> {
  const rows = runs.flatMap((run) => run.acks.map((ack) => ({ run, at: run.at.toISOString(), ack })))
  if (rows.length === 0) return
  await tx.query(INSERT_ACKS, [
    textArray(rows.map(({ run }) => run.tenantId)),
    plainArray(rows.map(({ run }) => run.runId)),
    textArray(rows.map(({ ack }) => ack.domain)),
    textArray(rows.map(({ ack }) => ack.action)),
    plainArray(rows.map(({ ack }) => ack.attempt)),
    plainArray(rows.map(({ ack }) => ack.status)),
    textArray(rows.map(({ ack }) => ack.resultId)),
    textArray(rows.map(({ ack }) => ack.error)),
    plainArray(rows.map(({ at }) => at)),
  ])
}

export interface StoredAck extends DomainAck {
  readonly runId: string
  readonly ackedAt: Date
}

const SELECT_ACKS = statement(
  'audit_acks_of_runs',
  `select run_id as "runId", domain, action, attempt, status, result_id as "resultId", error, acked_at as "ackedAt"
     from concordat.audit_acks where tenant_id = $1 and run_id = any($2::uuid[]) order by ack_id`,
)

/** The acks of some of a tenant's runs, oldest first. */
export async function acksOfRuns(tx: Tx, tenantId: string, runIds: readonly string[]): Promise<StoredAck[]> {
  return tx.query<StoredAck>(SELECT_ACKS, [tenantId, runIds])
}
