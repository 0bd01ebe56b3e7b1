import type { Logger } from '../log.ts'
import type { Metrics } from '../metrics.ts'

/** How often one key is told of while it lasts. */
const TELL_MS = 60_000

/**
 * Tells of streams that Redis refuses to write or read, as when somebody else has a key of another type under the name.
 * Their events are not lost: readers take them from the outbox.
 */
export class StreamFaults {
  readonly #log: Logger
  readonly #metrics: Metrics
  readonly #toldAtMs = new Map<string, number>()

  constructor(log: Logger, metrics: Metrics) {
    this.#log = log
    this.#metrics = metrics
  }

  /** `refusal` is what Redis answered. */
  tell(key: string, refusal: string): void {
    this.#metrics.counter('concordat_streams_refused_total').inc({})
    const nowMs = performance.now()
    if (nowMs - (this.#toldAtMs.get(key) ?? Number.NEGATIVE_INFINITY) < TELL_MS) return
    this.#toldAtMs.set(key, nowMs)
    const what = refusal.startsWith('WRONGTYPE')
      ? `the Redis key ${key} is no stream`
      : `Redis refuses the stream ${key}`
    const remedy = refusal.startsWith('WRONGTYPE') ? foreignKeyRemedy(key) : 'Look at what Redis answers.'
    this.#log.error({ key, refusal, remedy }, `${what}: its events are late until that is mended; none is lost`)
  }
}

/** What to do about a key of another type under a stream's name. */
export function foreignKeyRemedy(key: string): string {
  return `Somebody else has put it there: move it away, redis-cli RENAME ${key} ${key}.foreign, or delete it.`
}
