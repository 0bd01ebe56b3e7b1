import { AppError } from './app-error.ts'
import { backoffMs, sleep } from './backoff.ts'

export interface GroupCommitOptions<Item, Result> {
  /** For errors and metrics: what is committed in groups. */
  readonly name: string
  /** Items in one flush at the most. */
  readonly batchMax: number
  /** Flushes under way at once at the most; one database connection each. */
  readonly flushersMax: number
  /** Items waiting at the most; one more is refused with `QUEUE_FULL`. */
  readonly queueMax: number
  /** How long a flush is tried again while the database is unreachable, in milliseconds. */
  readonly retryForMs: number
  /** Commits all items or none; returns one result an item, in order. */
  readonly flush: (items: readonly Item[]) => Promise<readonly Result[]>
  /** True for errors after which the same flush may succeed. Others are blamed on an item of the batch. */
  readonly isRetryable: (error: unknown) => boolean
  readonly random: () => number
}

interface Waiting<Item, Result> {
  readonly item: Item
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}

const RETRY_BASE_MS = 20
const RETRY_CAP_MS = 1_000

/**
 * Group commit without timers: while flushes are under way new items gather; when one returns, all that waited go out
 * as the next batch. At low load a batch is one item and nothing waits. A caller's promise settles only after its own
 * commit. A batch that fails is halved until the item to blame fails alone, with its own error.
 */
export class GroupCommit<Item, Result> {
  readonly #options: GroupCommitOptions<Item, Result>
  #queue: Waiting<Item, Result>[] = []
  #flushing = 0
  #scheduled = false

  constructor(options: GroupCommitOptions<Item, Result>) {
    this.#options = options
  }

  /** Items that wait for a flush or are in one's way. */
  get pending(): number {
    return this.#queue.length
  }

  /** Resolves with the item's own result after the commit that holds it. */
  add(item: Item): Promise<Result> {
    const { name, queueMax } = this.#options
    if (this.#queue.length >= queueMax) {
      return Promise.reject(new AppError('QUEUE_FULL', `${queueMax} ${name} are waiting for the database already`))
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ item, resolve, reject })
      this.#schedule()
    })
  }

  /** One turn of the event loop later, so that what a turn adds goes out together. */
  #schedule(): void {
    if (this.#scheduled || this.#flushing >= this.#options.flushersMax) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#startFlush()
    })
  }

  #startFlush(): void {
    if (this.#queue.length === 0) return
    const { batchMax } = this.#options
    const batch = this.#queue.length <= batchMax ? this.#queue : this.#queue.slice(0, batchMax)
    this.#queue = batch === this.#queue ? [] : this.#queue.slice(batchMax)
    this.#flushing++
    this.#commit(batch).finally(() => {
      this.#flushing--
      if (this.#queue.length > 0) this.#schedule()
    })
    // A full batch leaves more behind: another flusher takes it now rather than a round trip later.
    if (this.#queue.length >= batchMax) this.#schedule()
  }

  async #commit(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    let results: readonly Result[]
    try {
      results = await this.#flushPatiently(batch.map((waiting) => waiting.item))
    } catch (error) {
      if (batch.length === 1 || this.#options.isRetryable(error)) {
        for (const waiting of batch) waiting.reject(error)
        return
      }
      const half = batch.length >> 1
      await this.#commit(batch.slice(0, half))
      return this.#commit(batch.slice(half))
    }
    for (let i = 0; i < batch.length; i++) batch[i]?.resolve(results[i] as Result)
  }

  /** A flush that the database could not take says nothing about its items, so it is tried again, for a bounded time. */
  async #flushPatiently(items: readonly Item[]): Promise<readonly Result[]> {
    const { flush, isRetryable, retryForMs, random } = this.#options
    const giveUpAt = performance.now() + retryForMs
    for (let attempt = 1; ; attempt++) {
      try {
        return await flush(items)
      } catch (error) {
        // Once at least: time in which the event loop was blocked is no time in which the database was away.
        if (!isRetryable(error) || (attempt > 1 && performance.now() > giveUpAt)) throw error
        await sleep(backoffMs({ attempt, baseMs: RETRY_BASE_MS, capMs: RETRY_CAP_MS, random }))
      }
    }
  }
}
