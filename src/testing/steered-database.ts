import { AppError } from '../foundation/app-error.ts'
import { type Database, LastFlight, type Statement, type Tx } from '../foundation/storage/storage.ts'

/** A statement that is about to be sent. */
export interface StatementCall {
  /** Its name, or its text where it has none. `commit` and then `committed` stand for the end of a transaction. */
  readonly statement: string
  /** What its transaction has sent before it; empty outside of a transaction. */
  readonly before: readonly string[]
  /** The connection that it will use. */
  readonly tx: Tx
}

/**
 * Is asked before each statement. What it throws, the statement fails with, unsent; while its promise is pending,
 * nothing more of the transaction is sent. Thrown at `committed`, the commit stands and only its reply is lost.
 */
export type Interceptor = (call: StatementCall) => void | Promise<void>

/** A place in the flow where a test holds it. */
export interface PausePoint {
  /** Resolves when the flow has come there and stands still. */
  readonly reached: Promise<void>
  resume(): void
}

/** A database whose statements a test can hold, refuse or count. Without an interceptor it is the database itself. */
export class SteeredDatabase implements Database {
  readonly #inner: Database
  readonly #interceptors = new Set<Interceptor>()

  constructor(inner: Database) {
    this.#inner = inner
  }

  get kind() {
    return this.#inner.kind
  }

  /** Asks the interceptor from the next transaction on, until the returned function is called. */
  intercept(interceptor: Interceptor): () => void {
    this.#interceptors.add(interceptor)
    return () => {
      this.#interceptors.delete(interceptor)
    }
  }

  /** Holds the first statement of this name, once. */
  pauseAt(statement: string): PausePoint {
    const arrived = Promise.withResolvers<void>()
    const resumed = Promise.withResolvers<void>()
    const remove = this.intercept((call) => {
      if (call.statement !== statement) return
      remove()
      arrived.resolve()
      return resumed.promise
    })
    return { reached: arrived.promise, resume: resumed.resolve }
  }

  async query<Row>(sql: Statement | string, values?: readonly unknown[]): Promise<Row[]> {
    await this.#ask({ statement: nameOf(sql), before: [], tx: this.#inner })
    return this.#inner.query<Row>(sql, values)
  }

  async transaction<T>(work: (tx: Tx) => Promise<T | LastFlight<T>>): Promise<T> {
    if (this.#interceptors.size === 0) return this.#inner.transaction(work)
    const sent: string[] = []
    const result = await this.#inner.transaction(async (tx) => {
      const steered = this.#steer(tx, sent)
      const worked = await work(steered)
      // The commit must not overtake a statement that is held, so here it does not travel with the last ones.
      const landed = worked instanceof LastFlight ? await worked.landed : worked
      await this.#ask({ statement: 'commit', before: [...sent], tx })
      return landed
    })
    await this.#ask({ statement: 'committed', before: [...sent], tx: this.#inner })
    return result
  }

  notify(channel: string, payload: string): Promise<void> {
    return this.#inner.notify(channel, payload)
  }

  listen(channel: string, hear: (payload: string) => void): Promise<() => Promise<void>> {
    return this.#inner.listen(channel, hear)
  }

  close(): Promise<void> {
    return this.#inner.close()
  }

  /** Keeps the statements of one transaction in order, and fails all that follow a refused one, as the server does. */
  #steer(tx: Tx, sent: string[]): Tx {
    let turn: Promise<void> = Promise.resolve()
    let aborted = false
    return {
      query: <Row>(sql: Statement | string, values?: readonly unknown[]): Promise<Row[]> => {
        const statement = nameOf(sql)
        const allowed = turn.then(async () => {
          if (statement.startsWith('rollback')) aborted = false
          if (aborted) throw new AppError('DATABASE_ERROR', 'current transaction is aborted')
          const before = [...sent]
          sent.push(statement)
          try {
            await this.#ask({ statement, before, tx })
          } catch (error) {
            aborted = true
            throw error
          }
        })
        turn = allowed.catch(() => undefined)
        return allowed.then(() => tx.query<Row>(sql, values))
      },
    }
  }

  async #ask(call: StatementCall): Promise<void> {
    for (const interceptor of [...this.#interceptors]) await interceptor(call)
  }
}

function nameOf(sql: Statement | string): string {
  return typeof sql === 'string' ? sql.trim() : sql.name
}
