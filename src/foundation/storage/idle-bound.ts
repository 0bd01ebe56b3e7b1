import { statement, type Tx } from './database.ts'

const BOUND = statement('idle_bound', `select set_config('idle_in_transaction_session_timeout', $1::text, true)`)

/**
 * The server ends this transaction when its process stands still in it for longer between two statements: what it has
 * locked is free again then, and it fails with `DATABASE_UNREACHABLE` should the process go on. 60 s unless called.
 */
export async function boundIdle(tx: Tx, idleMsMax: number): Promise<void> {
  await tx.query(BOUND, [String(idleMsMax)])
}
