/** A whole SQL statement with the name under which the server keeps its plan. */
export interface Statement {
  readonly name: string
  readonly text: string
}

/** Names a hot statement once, beside the function that runs it. */
export function statement(name: string, text: string): Statement {
  return Object.freeze({ name, text })
}

/**
 * A handle that runs statements: inside a transaction, or on its own as one autocommit statement.
 * Statements issued without awaiting the one before travel to the server in one flight, in order.
 */
export interface Tx {
  query<Row = Record<string, unknown>>(sql: Statement | string, values?: readonly unknown[]): Promise<Row[]>
}

/** Statements already issued whose results only matter once they are committed. */
export class LastFlight<T> {
  readonly landed: Promise<T>

  constructor(landed: Promise<T>) {
    this.landed = landed
  }
}

/** Ends a transaction's work with statements that needn't be awaited before the commit: it saves a round trip. */
export function lastFlight<T>(landed: Promise<T>): LastFlight<T> {
  landed.catch(() => undefined) // the transaction reports it
  return new LastFlight(landed)
}

/**
 * One database, PostgreSQL or the embedded one. Both run the same SQL.
 * Every method rejects with `AppError` `DATABASE_UNREACHABLE` (retryable) when the server can't be reached.
 */
export interface Database extends Tx {
  readonly kind: 'postgres' | 'embedded'
  /**
   * Runs `work` in one READ COMMITTED transaction: committed when it resolves, rolled back when it rejects.
   * When `work` resolves to `lastFlight(…)`, the commit travels together with the statements named there.
   */
  transaction<T>(work: (tx: Tx) => Promise<T | LastFlight<T>>): Promise<T>
  /** A signal to every process. For rare messages: NOTIFY takes a database-wide lock at commit. */
  notify(channel: string, payload: string): Promise<void>
  /** Hears `notify` from any process until the returned function is called. Reconnects by itself. */
  listen(channel: string, hear: (payload: string) => void): Promise<() => Promise<void>>
  close(): Promise<void>
}
