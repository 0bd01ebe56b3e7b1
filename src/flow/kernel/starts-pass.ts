import { type Database, isLockTimeout, statement, type Tx } from '../../foundation/storage/storage.ts'

/*
 * Whoever starts runs, by a claim or with their submission, shares this lock until it commits. A suspension passes
 * through it once, and then knows that every start which has read the tenant as active is committed. A row lock would
 * say the same, at the price of a write to the tenant's row with each claim. It must be taken by a statement before the
 * one that starts runs, whose view of the tenants then begins after it.
 */
const LOCK = `hashtext('concordat.starts')`

/** An SQL expression, for the first statement of a transaction that starts runs. */
export const ENTER_STARTS = `pg_advisory_xact_lock_shared(${LOCK})`

const ENTER = statement('starts_enter', `select ${ENTER_STARTS}`)

export async function enterStarts(tx: Tx): Promise<void> {
  await tx.query(ENTER)
}

/** Waits until every start that is being committed is; false when one takes longer than `patienceMs`. */
export async function passStarts(database: Database, patienceMs: number): Promise<boolean> {
  try {
    await database.transaction(async (tx) => {
      await tx.query(`select set_config('lock_timeout', $1, true)`, [`${patienceMs}ms`])
      await tx.query(`select pg_advisory_xact_lock(${LOCK})`)
    })
    return true
  } catch (error) {
    if (isLockTimeout(error)) return false
    throw error
  }
}
