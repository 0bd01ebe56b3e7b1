import { eachOnce } from '../../foundation/json.ts'
import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import type { AckOutcome, AckStatus, Action, DomainAck } from './contract.ts'

export interface RunAcks {
  readonly tenantId: string
  readonly runId: string
  readonly at: Date
  readonly acks: readonly DomainAck[]
}

const ACKS = rowSet<{ readonly run: RunAcks; readonly ack: DomainAck }>({
  tenant_id: ['text', ({ run }) => run.tenantId],
  run_id: ['uuid', ({ run }) => run.runId],
  domain: ['text', ({ ack }) => ack.domain],
  action: ['text', ({ ack }) => ack.action],
  attempt: ['int', ({ ack }) => ack.attempt],
  status: ['text', ({ ack }) => ack.status],
  result_id: ['text', ({ ack }) => ack.resultId],
  error: ['text', ({ ack }) => ack.error],
  acked_at: ['timestamptz', ({ run }) => run.at],
})

const INSERT_ACKS = statement(
  'audit_acks_insert',
  `insert into concordat.audit_acks (${ACKS.names}) select * from ${ACKS.from(1)} as x`,
)

/** SQL of the insert of SUCCESS acks of one action; its rows are a select of tenant_id, run_id, result_id and acked_at. */
export function ackSuccessSql({ domain, action }: Action, rows: string): string {
  return `insert into concordat.audit_acks (tenant_id, run_id, result_id, acked_at, domain, action, attempt, status)
    select acked.*, '${domain}', '${action}', 1, 'SUCCESS' from (${rows}) acked`
}

/** Writes the acks of many runs in one statement. */
export async function writeAcks(tx: Tx, runs: readonly RunAcks[]): Promise<void> {
  const rows = runs.flatMap((run) => run.acks.map((ack) => ({ run, ack })))
  if (rows.length > 0) await tx.query(INSERT_ACKS, ACKS.values(rows))
}

export interface StoredAck extends DomainAck {
  readonly runId: string
  readonly ackedAt: Date
}

interface RunKeys {
  readonly tenantId: string
  readonly runId: string
}

const KEYS = rowSet<RunKeys>({ tenant_id: ['text', (run) => run.tenantId], run_id: ['uuid', (run) => run.runId] })

const SELECT_ACKS = statement(
  'audit_acks_of_runs',
  `select acks.*
     from ${KEYS.from(1)} as x
    cross join lateral (
      select run_id as "runId", domain, action, attempt, status, result_id as "resultId", error, acked_at as "ackedAt"
        from concordat.audit_acks a where a.tenant_id = x.tenant_id and a.run_id = x.run_id order by a.ack_id) acks`,
)

/** Ours are short and have neither tabs nor line ends, and are taken as they are; a hand may have left anything. */
const isPlain = (column: string) =>
  `octet_length(${column}) <= ${limits.ackNameCharsMax} and strpos(${column}, e'\\t') = 0 and strpos(${column}, e'\\n') = 0`
const oneWord = (column: string) => `left(translate(${column}, e'\\t\\n', '  '), ${limits.ackNameCharsMax})`

/*
 * A line an ack, one text a run: a row an ack took twice the time, and so did making each name one word. An error is
 * JSON, so that it can't end a line; what its domain and action are called comes before it, without tabs and line ends.
 */
const SELECT_OUTCOMES = statement(
  'audit_ack_outcomes_of_runs',
  `select x.run_id as "runId",
          (select string_agg(status || e'\\t'
                    || case when ${isPlain('domain')} and ${isPlain('action')}
                            then domain || e'\\t' || action
                            else ${oneWord('domain')} || e'\\t' || ${oneWord('action')} end
                    || case when error is null then '' else e'\\t' || to_json(error) end, e'\\n')
             from (select status, domain, action, error from concordat.audit_acks a
                    where a.tenant_id = x.tenant_id and a.run_id = x.run_id order by a.ack_id) acks) as outcomes
     from ${KEYS.from(1)} as x`,
)

/** What the acks of runs say, of each the oldest first. A run without acks has none. */
export async function ackOutcomesOfRuns(
  tx: Tx,
  runs: readonly RunKeys[],
): Promise<ReadonlyMap<string, readonly AckOutcome[]>> {
  const rows = await tx.query<{ runId: string; outcomes: string | null }>(SELECT_OUTCOMES, KEYS.values(runs))
  const outcomesIn = eachOnce(readOutcomes)
  return new Map(rows.map(({ runId, outcomes }) => [runId, outcomes === null ? [] : outcomesIn(outcomes)]))
}

function readOutcomes(lines: string): AckOutcome[] {
  return lines.split('\n').map((line) => {
    const [status, domain = '', action = '', error] = line.split('\t')
    return { domain, action, status: status as AckStatus, error: error ? JSON.parse(error) : null }
  })
}

/** The acks of runs, of each the oldest first. */
export async function acksOfRuns(tx: Tx, runs: readonly RunKeys[]): Promise<StoredAck[]> {
  return tx.query<StoredAck>(SELECT_ACKS, KEYS.values(runs))
}
