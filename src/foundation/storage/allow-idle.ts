import { limits } from '../../limits.ts'
import { statement, type Tx } from './database.ts'

const ALLOW = statement(
  'transaction_allow_idle',
  `select set_config('idle_in_transaction_session_timeout', $1::text, true)`,
)

/**
 * Code that is not ours may take so long in this transaction without a statement. For ours 10 s do: when a process stands
 * still for longer, the server ends the transaction, so that what it has locked is free, and the process gets
 * `DATABASE_UNREACHABLE` should it go on.
 */
export async function allowIdle(tx: Tx, idleMsMax: number): Promise<void> {
  await tx.query(ALLOW, [String(Math.ceil(idleMsMax) + limits.transactionIdleMs)])
}
