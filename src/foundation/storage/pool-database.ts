import type { Pool, PoolClient, Submittable } from 'pg'
import type { AppError } from '../app-error.ts'
import { LastFlight, type Statement, type Tx } from './database.ts'
import { databaseError, isAborted } from './errors.ts'
import { Flight, type Prepared } from './flight.ts'

const BEGIN: Statement = { name: 'begin', text: 'begin' }
const COMMIT: Statement = { name: 'commit', text: 'commit' }
const ROLLBACK: Statement = { name: 'rollback', text: 'rollback' }

/**
 * Runs statements on a connection of the driver, with our errors. What one turn of the event loop issues is one flight.
 * Those behind one that fails fail too, with that first error, so that whoever waits for several of them gets it from
 * whichever it hears first.
 */
function onClient(client: Pick<PoolClient, 'query'>, known: Map<string, Prepared>): Tx {
  let first: AppError | undefined
  let boarding: Flight | undefined
  const depart = () => {
    if (boarding) client.query(boarding as unknown as Submittable)
    boarding = undefined
  }
  const send = (sql: Statement | string, values: readonly unknown[]): Promise<unknown[]> => {
    if (typeof sql === 'string' && values.length === 0) {
      depart() // without values it may be several statements, which go alone
      return client.query(sql).then(({ rows }) => rows)
    }
    if (!boarding) {
      boarding = new Flight(known)
      process.nextTick(depart)
    }
    return boarding.add(typeof sql === 'string' ? { name: '', text: sql } : sql, values)
  }
  return {
    async query<Row>(sql: Statement | string, values: readonly unknown[] = []): Promise<Row[]> {
      try {
        return (await send(sql, values)) as Row[]
      } catch (error) {
        const failure = databaseError(error)
        if (first && (isAborted(failure) || failure.cause === first.cause)) throw first
        first = failure
        throw failure
      }
    },
  }
}

/** Making all plans of a connection anew takes some 20 ms; until statistics are renewed by themselves it can be a minute. */
const PLANS_KEPT_MS = 15_000

/** Sends the commit behind the last statements. If one of them failed, the server turns the commit into a rollback. */
async function land<T>(tx: Tx, { landed }: LastFlight<T>): Promise<T> {
  const [work, commit] = await Promise.allSettled([landed, tx.query(COMMIT)])
  if (work.status === 'rejected') throw work.reason
  if (commit.status === 'rejected') throw commit.reason
  return work.value
}

/** What is remembered of a connection as long as it lives. */
interface Session {
  plannedAt: number
  /** The statements that it has parsed, by name. */
  readonly known: Map<string, Prepared>
}

/** What PostgreSQL and the embedded database share: statements and transactions on a pool of the `pg` driver. */
export class PoolDatabase implements Tx {
  readonly #pool: Pool
  readonly #sessions = new WeakMap<PoolClient, Session>()

  constructor(pool: Pool) {
    this.#pool = pool
  }

  async query<Row>(sql: Statement | string, values: readonly unknown[] = []): Promise<Row[]> {
    const { client, known } = await this.#connect()
    try {
      return await onClient(client, known).query<Row>(sql, values)
    } finally {
      client.release()
    }
  }

  async transaction<T>(work: (tx: Tx) => Promise<T | LastFlight<T>>): Promise<T> {
    const { client, known } = await this.#connect()
    const tx = onClient(client, known)
    // BEGIN travels with the first statement: it fails only with the connection, and then that statement tells.
    tx.query(BEGIN).catch(() => undefined)
    let broken: Error | undefined
    try {
      const result = await work(tx)
      if (result instanceof LastFlight) return await land(tx, result)
      await tx.query(COMMIT)
      return result
    } catch (error) {
      broken = await tx.query(ROLLBACK).then(
        () => undefined,
        (rollbackError: Error) => rollbackError,
      )
      throw error
    } finally {
      client.release(broken)
    }
  }

  /** Plans are made anew by and by: one made while a table was nearly empty is a bad one when it has filled since. */
  #forgetOldPlans(client: PoolClient, session: Session): void {
    const now = performance.now()
    if (now - session.plannedAt < PLANS_KEPT_MS) return
    session.plannedAt = now
    client.query('discard plans').catch(() => undefined) // the statement behind it tells
  }

  async #connect(): Promise<{ readonly client: PoolClient; readonly known: Session['known'] }> {
    try {
      const client = await this.#pool.connect()
      const session = this.#sessions.get(client) ?? { plannedAt: performance.now(), known: new Map() }
      this.#sessions.set(client, session)
      this.#forgetOldPlans(client, session)
      return { client, known: session.known }
    } catch (error) {
      throw databaseError(error)
    }
  }
}
