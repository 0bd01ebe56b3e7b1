import { backoffMs, sleep } from '../../foundation/backoff.ts'
import { createTicker, defineService, type Service } from '../../foundation/service.ts'
import { type CycleOutcome, OutboxRelay, type OutboxRelayOptions } from './outbox-relay.ts'

const POLL_MS = 200
/** Rows that come within this time go out together. */
const GATHER_MS = 5
const RETRY_BASE_MS = 100
/** No more than a fifth of a lease, which is renewed between the tries. */
const RETRY_CAP_MS = 2_000
const DRAIN_MS = 5_000

export interface RelayOptions extends OutboxRelayOptions {
  readonly random: () => number
  /** How late an event of another process is at the most, while there is little to do; 200 ms unless given. */
  readonly pollMs?: number
}

/**
 * Publishes what committed transactions have put into the outbox: at least once, in order per run, each event at a
 * position that it keeps. Relays in many processes share the partitions, and take over those of one that died. While
 * the bus or the database is away, events wait. `stop` publishes what is there, for 5 s at the most, and gives the
 * partitions up.
 */
export interface Relay extends Service {
  /** Says that a transaction of this process has put events into the outbox: they go out at once. */
  nudge(): void
}

export function createRelay(options: RelayOptions): Relay {
  const { clock, log, random, pollMs = POLL_MS } = options
  const relay = new OutboxRelay(options)

  const pauseMs = (outcome: CycleOutcome) => {
    if (outcome !== 'failed') return GATHER_MS
    const jitterMs = backoffMs({ attempt: relay.failures, baseMs: RETRY_BASE_MS, capMs: RETRY_CAP_MS, random })
    return RETRY_BASE_MS + jitterMs
  }

  const ticker = createTicker({
    name: 'relay',
    intervalMs: pollMs,
    tick: async (signal) => {
      for (let outcome = await relay.cycle(); outcome !== 'idle'; outcome = await relay.cycle()) {
        if (outcome !== 'full') await sleep(pauseMs(outcome), signal).catch(() => {})
        if (signal.aborted) return
      }
    },
    onError: (error) => log.error({ error }, 'The relay failed'),
  })

  const drain = async () => {
    const untilMs = clock.nowMs() + DRAIN_MS
    let outcome: CycleOutcome = 'busy'
    while (outcome !== 'idle' && outcome !== 'failed' && clock.nowMs() < untilMs) outcome = await relay.cycle()
  }

  const service = defineService(ticker.name, {
    start: ticker.start,
    stop: async () => {
      await ticker.stop()
      await drain()
      await relay.release()
    },
  })
  return {
    name: service.name,
    get state() {
      return service.state
    },
    start: service.start,
    stop: service.stop,
    nudge: ticker.nudge,
  }
}
