import { createClient, TimeoutError } from 'redis'
import type { Logger } from '../log.ts'

const CONNECT_TIMEOUT_MS = 5_000
/** How long Redis may take for an answer; node-redis rejects the command then. */
const ANSWER_TIMEOUT_MS = 5_000
/** A connection that nobody uses shows only by a question that it is dead. */
const PING_INTERVAL_MS = 5_000

function newClient(url: string) {
  return createClient({
    url,
    disableOfflineQueue: true, // what waits for a server that is away would come out of order, or too late
    pingInterval: PING_INTERVAL_MS,
    commandOptions: { timeout: ANSWER_TIMEOUT_MS },
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

  constructor(options: RedisLinkOptions) {
    this.#options = options
  }

  /** The client, if it is connected. */
  get ready(): RedisClient | undefined {
    return this.#ready ? this.#client : undefined
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
      if (error instanceof TimeoutError) this.replace(client)
      else this.#changed(client, client.isReady)
    })
    client.connect().catch(() => {}) // tells as an 'error' event whatever it is
    return promise
  }

  /** Gives up a client that does not answer. */
  replace(client: RedisClient): void {
    if (client !== this.#client) return
    this.close()
    void this.open()
  }

  close(): void {
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
