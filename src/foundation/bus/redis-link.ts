import { createClient } from '@redis/client'
import { AppError } from '../app-error.ts'
import { withTimeout } from '../backoff.ts'
import type { Logger } from '../log.ts'

const CONNECT_TIMEOUT_MS = 5_000
const ANSWER_TIMEOUT_MS = 5_000
/** Only a question shows that a connection is dead over which nothing comes. */
const PING_MS = 5_000

function newClient(url: string) {
  return createClient({
    url,
    disableOfflineQueue: true, // what waits for a server that is away would come too late, or out of order
    socket: { connectTimeout: CONNECT_TIMEOUT_MS },
  })
}

export type RedisClient = ReturnType<typeof newClient>

export interface RedisLinkOptions {
  readonly url: string
  readonly log: Logger
  /** Called when it is connected, again after each reconnect. */
  readonly onReady?: (client: RedisClient) => Promise<void>
}

/**
 * A connection to Redis that comes back by itself: node-redis reconnects when the connection breaks, and a connection
 * that is up but does not answer is replaced.
 */
export class RedisLink {
  readonly #options: RedisLinkOptions
  #client: RedisClient | undefined
  #ready = false
  #pings: NodeJS.Timeout | undefined

  constructor(options: RedisLinkOptions) {
    this.#options = options
  }

  get isReady(): boolean {
    return this.#ready
  }

  /** Resolves when it is ready for the first time; while Redis is away that takes as long as it is. */
  open(): Promise<void> {
    const { url, log, onReady } = this.#options
    const client = newClient(url)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#client = client
    client.on('ready', async () => {
      try {
        await onReady?.(client)
        this.#changed(client, client.isReady)
        resolve()
      } catch (error) {
        log.error({ error }, 'Redis refused what every connection begins with')
      }
    })
    client.on('error', (error: Error) => {
      log.debug({ error: error.message }, 'Redis error')
      this.#changed(client, client.isReady)
    })
    client.connect().catch(() => {}) // tells as an 'error' event whatever it is
    this.#pings ??= setInterval(() => void this.call((to) => to.ping()).catch(() => {}), PING_MS).unref()
    return promise
  }

  /**
   * What the client answers. Fails with `BUS_UNREACHABLE`: at once while there is no connection, else after 5 s without
   * an answer, which also ends the connection.
   */
  async call<T>(ask: (client: RedisClient) => Promise<T>): Promise<T> {
    const client = this.#client
    if (!client || !this.#ready) throw unreachable('is not connected')
    let late: AppError | undefined
    const onTimeout = () => {
      late = unreachable(`has not answered for ${ANSWER_TIMEOUT_MS / 1_000} s`)
      return late
    }
    try {
      return await withTimeout(() => ask(client), { timeoutMs: ANSWER_TIMEOUT_MS, onTimeout })
    } catch (error) {
      if (!late || error !== late) throw unreachable('gave no answer', error)
      this.#replace(client)
      throw late
    }
  }

  close(): void {
    clearInterval(this.#pings)
    this.#pings = undefined
    this.#drop()
  }

  #replace(client: RedisClient): void {
    if (client !== this.#client) return
    this.#options.log.warn({}, 'Redis does not answer, connecting anew')
    this.#drop()
    void this.open()
  }

  #drop(): void {
    const client = this.#client
    this.#client = undefined
    this.#ready = false
    client?.destroy()
  }

  #changed(client: RedisClient, ready: boolean): void {
    if (client !== this.#client || ready === this.#ready) return
    this.#ready = ready
    if (ready) this.#options.log.debug({}, 'Redis connected')
    else this.#options.log.warn({}, 'Redis connection lost, reconnecting')
  }
}

export function unreachable(what: string, cause?: unknown): AppError {
  return new AppError('BUS_UNREACHABLE', `Redis ${what}`, cause === undefined ? {} : { cause })
}
