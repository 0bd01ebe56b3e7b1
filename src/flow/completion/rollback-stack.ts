import { type Action, ackOf, type DomainAck } from '../../domains/audit/audit.ts'

/** An operation that was done for a completion, and how it is undone. */
export interface DoneOperation extends Action {
  readonly resultId: string | null
  /** Absent for database rows: the database's own rollback undoes them. */
  readonly compensate?: () => Promise<void>
}

/** An operation that is undone, or whose compensation failed and is left to the sweep. */
export interface UndoneOperation extends DoneOperation {
  readonly error: string | null
}

/** Records each operation done; on failure they are undone in reverse, the latest first. */
export class RollbackStack {
  readonly #done: DoneOperation[] = []

  push(operation: DoneOperation): void {
    this.#done.push(operation)
  }

  /** Undoes everything. One compensation that fails does not keep the others from running. */
  async unwind(): Promise<UndoneOperation[]> {
    const undone: UndoneOperation[] = []
    for (let operation = this.#done.pop(); operation; operation = this.#done.pop()) {
      undone.push({ ...operation, error: await errorOf(operation.compensate) })
    }
    return undone
  }
}

async function errorOf(compensate: (() => Promise<void>) | undefined): Promise<string | null> {
  try {
    await compensate?.()
    return null
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** History is never silently erased: what was undone says so, and why. */
export function rolledBackAck(operation: UndoneOperation, reason: string, attempt: number): DomainAck {
  const why = operation.error === null ? reason : `${reason}; its compensation failed: ${operation.error}`
  return ackOf(operation, 'ROLLED_BACK', { resultId: operation.resultId, error: why, attempt })
}
