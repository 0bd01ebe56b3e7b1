import pg from 'pg'
import { backoffMs, sleep } from '../backoff.ts'
import type { Logger } from '../log.ts'
import type { Database } from './database.ts'
import { databaseError } from './errors.ts'
import { PoolDatabase } from './pool-database.ts'
import { SESSION_SETTINGS } from './session-settings.ts'
import { typeParsers } from './type-parsers.ts'

/** Reconnect pauses of the listening connection: missed signals are caught by heartbeats meanwhile. */
const RECONNECT_BASE_MS = 100
const RECONNECT_CAP_MS = 5_000

/** A connection of its own that hears NOTIFY and comes back by itself. */
class Listener {
  readonly #options: pg.ClientConfig
  readonly #log: Logger
  readonly #hearers = new Map<string, Set<(payload: string) => void>>()
  #client: pg.Client | undefined
  #connecting: Promise<void> | undefined
  #closed = false

  constructor(options: pg.ClientConfig, log: Logger) {
    this.#options = options
    this.#log = log
  }

  async add(channel: string, hear: (payload: string) => void): Promise<() => Promise<void>> {
    const hearers = this.#hearers.get(channel) ?? new Set()
    this.#hearers.set(channel, hearers.add(hear))
    this.#connecting ??= this.#connect()
    await this.#connecting
    await this.#client?.query(`listen ${pg.escapeIdentifier(channel)}`)
    return async () => {
      hearers.delete(hear)
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#connecting?.catch(() => undefined)
    await this.#client?.end().catch(() => undefined)
  }

  async #connect(): Promise<void> {
    const client = new pg.Client(this.#options)
    client.on('notification', ({ channel, payload }) => {
      for (const hear of this.#hearers.get(channel) ?? []) hear(payload ?? '')
    })
    client.on('error', (error) => this.#reconnect(client, error))
    client.on('end', () => this.#reconnect(client, new Error('connection ended')))
    try {
      await client.connect()
      for (const channel of this.#hearers.keys()) await client.query(`listen ${pg.escapeIdentifier(channel)}`)
    } catch (error) {
      throw databaseError(error)
    }
    this.#client = client
  }

  #reconnect(lost: pg.Client, error: Error): void {
    if (this.#closed || lost !== this.#client) return
    this.#client = undefined
    this.#log.warn({ err: error.message }, 'listening connection lost, reconnecting')
    this.#connecting = this.#reconnectLoop()
  }

  async #reconnectLoop(): Promise<void> {
    for (let attempt = 1; !this.#closed; attempt++) {
      try {
        return await this.#connect()
      } catch {
        await sleep(backoffMs({ attempt, baseMs: RECONNECT_BASE_MS, capMs: RECONNECT_CAP_MS, random: Math.random }))
      }
    }
  }
}

export interface PostgresOptions {
  readonly url: string
  readonly poolMax: number
  readonly log: Logger
  readonly connectTimeoutMs: number
  /**
   * How long the server waits in a transaction for the next statement. A process that is stopped or suspended in there
   * is not dead, and would keep what it has locked from all others for as long as that lasts.
   */
  readonly idleTransactionMs: number
}

/** PostgreSQL 15 or newer. Connections are pooled and pipelined; a lost one is replaced. */
export function openPostgres(options: PostgresOptions): Database {
  const { url, poolMax, log, connectTimeoutMs, idleTransactionMs } = options
  const client: pg.ClientConfig = {
    connectionString: url,
    application_name: 'concordat',
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
    types: typeParsers,
  }
  const pool = new pg.Pool({ ...client, max: poolMax, pipeline: true })
  pool.on('error', (error) => log.warn({ err: error.message }, 'idle database connection lost'))
  pool.on('connect', (connected) => {
    connected.on('error', (error) => log.warn({ err: error.message }, 'database connection lost'))
    connected
      .query(`${SESSION_SETTINGS}; set idle_in_transaction_session_timeout = ${idleTransactionMs}`)
      .catch((error) => log.warn({ err: error.message }, 'a connection works without its session settings'))
  })
  const database = new PoolDatabase(pool)
  const listener = new Listener(client, log)
  return {
    kind: 'postgres',
    query: (sql, values) => database.query(sql, values),
    transaction: (work) => database.transaction(work),
    notify: async (channel, payload) => {
      await database.query('select pg_notify($1, $2)', [channel, payload])
    },
    listen: (channel, hear) => listener.add(channel, hear),
    close: async () => {
      await listener.close()
      await pool.end()
    },
  }
}
