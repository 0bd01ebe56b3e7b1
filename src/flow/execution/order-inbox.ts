import type { Logger } from '../../foundation/log.ts'
import { createTicker, defineService, type Service, type Ticker } from '../../foundation/service.ts'
import type { Database } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import {
  decodePush,
  ORDERS_CHANNEL,
  type OrderPush,
  type Orders,
  type RunOrchestrationKernel,
} from '../kernel/kernel.ts'

export interface OrderInboxOptions {
  readonly database: Database
  readonly kernel: RunOrchestrationKernel
  readonly log: Logger
  /** Empty while the worker has none. */
  readonly workerId: () => string
  /** True when the worker holds a run that this may be about. */
  readonly concerns: (push: OrderPush) => boolean
  readonly obey: (orders: Partial<Orders>) => void
}

/**
 * Hears the nudges that orders are there, and reads them where they concern this worker: many nudges, one query. What
 * is lost here, the next heartbeat's reply brings.
 */
export class OrderInbox {
  readonly start: () => Promise<void>
  readonly stop: () => Promise<void>
  readonly #options: OrderInboxOptions
  readonly #reader: Ticker
  #unlisten: (() => Promise<void>) | undefined
  #asked = false
  /** How many pushes were heard. */
  #heard = 0

  constructor(options: OrderInboxOptions) {
    this.#options = options
    this.#reader = createTicker({
      name: 'orders',
      intervalMs: limits.timerMsMax, // only when nudged
      tick: () => this.#read(),
      onError: (error) => options.log.warn({ error }, 'orders could not be read; the next heartbeat brings them'),
    })
    const service: Service = defineService('order inbox', { start: () => this.#open(), stop: () => this.#close() })
    this.start = service.start
    this.stop = service.stop
  }

  /**
   * For the time of a claim: what is pushed between its commit and its reply may be about a run that it brings, and so
   * the orders are read afterwards.
   */
  async whileClaiming<T>(claim: () => Promise<T>): Promise<T> {
    const heard = this.#heard
    try {
      return await claim()
    } finally {
      if (heard !== this.#heard) this.#ask()
    }
  }

  /** For what was ordered in this very process: obeyed when this resolves, where it concerns this worker. */
  async look(push: OrderPush): Promise<void> {
    const workerId = this.#options.workerId()
    if (workerId === '' || !this.#options.concerns(push)) return
    this.#options.obey(await this.#options.kernel.orders(workerId))
  }

  async #open(): Promise<void> {
    await this.#reader.start()
    this.#unlisten = await this.#options.database.listen(ORDERS_CHANNEL, (payload) => this.#hear(payload))
  }

  async #close(): Promise<void> {
    await this.#unlisten?.()
    await this.#reader.stop()
  }

  #hear(payload: string): void {
    const push = decodePush(payload)
    if (!push) return
    this.#heard++
    if (!this.#options.concerns(push)) return
    const { runId, stop, pause, stopOrder } = push
    if (stopOrder) this.#options.obey({ stopOrders: [stopOrder] })
    else if (runId !== undefined && stop) this.#options.obey({ stops: [runId] })
    else if (runId !== undefined && pause) this.#options.obey({ pauses: [runId] })
    else this.#ask()
  }

  #ask(): void {
    this.#asked = true
    this.#reader.nudge()
  }

  async #read(): Promise<void> {
    const workerId = this.#options.workerId()
    if (!this.#asked || workerId === '') return
    this.#asked = false
    this.#options.obey(await this.#options.kernel.orders(workerId))
  }
}
