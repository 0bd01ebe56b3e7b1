import { backoffMs } from '../../foundation/backoff.ts'
import type { EventEnvelope } from '../../foundation/events/events.ts'
import { allowIdle, isStale, lastFlight, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { insertDeadEvent } from './dead-letter-store.ts'
import type { HandlerFailure } from './deliveries.ts'
import type { Handler } from './handlers.ts'
import { type HeldEvent, HeldRuns } from './held-runs.ts'
import type { LaneGround } from './lane-ground.ts'
import { LaneProgress } from './lane-progress.ts'
import { causeOf, failureOf, isTrouble, LaneReport } from './lane-report.ts'
import { deleteRetry, insertRetries, postponeRetry, type Retry } from './retry-store.ts'

/** A handler that is at one event for longer no longer makes those of lower priority wait. */
const LATE_MS = 1_000
/** Longest time without giving way to the network and to timers. */
const TURN_MS = 10
const TROUBLE_BASE_MS = 100
const TROUBLE_CAP_MS = 5_000
const LOGGED_MESSAGE_CHARS_MAX = 500

/** Where a lane gets its events from. */
export interface LaneSource {
  readonly partition: number
  /** False: the partition is no longer to be worked on. */
  readonly isActive: boolean
  /** The next events for the lane; none when it has to wait for them. */
  next(lane: Lane): readonly EventEnvelope[] | Promise<readonly EventEnvelope[]>
  /** The lane has got on. */
  moved(): void
  /** Somebody else moves the lane's checkpoint: all that is known of the partition is out of date. */
  lost(): void
}

/**
 * One handler on one partition: takes events in order, one at a time, and keeps track of how far it is. A run whose
 * event fails is set aside, with its later events, while those of other runs go on.
 */
export class Lane {
  readonly handler: Handler
  readonly progress: LaneProgress
  readonly #ground: LaneGround
  readonly #source: LaneSource
  readonly #held = new HeldRuns()
  readonly #report: LaneReport
  #working = false
  #work: Promise<void> = Promise.resolve()
  #eventSinceMs = 0
  #resumeAtMs = 0
  #troubles = 0
  #batchMax: number = limits.eventTransactionMax

  constructor(ground: LaneGround, source: LaneSource, handler: Handler, position: number) {
    this.#ground = ground
    this.#source = source
    this.handler = handler
    this.#report = new LaneReport(handler.name, ground)
    const { database, group } = ground
    const { partition } = source
    const onLost = () => source.lost()
    this.progress = new LaneProgress({ database, group, handler: handler.name, partition, position, onLost })
  }

  /** The last event that is dealt with. */
  get cursor(): number {
    return this.progress.cursor
  }

  get isWorking(): boolean {
    return this.#working
  }

  /** Whether it hangs at an event, or can't go on at all for now. */
  get isLate(): boolean {
    const nowMs = this.#ground.clock.nowMs()
    return this.#resumeAtMs > nowMs || (this.#eventSinceMs > 0 && nowMs - this.#eventSinceMs > LATE_MS)
  }

  /** Takes over what was set aside before. */
  hold(retry: Retry, delayMs: number): void {
    this.#held.add({ ...retry, dueMs: this.#ground.clock.nowMs() + delayMs })
  }

  /** Events up to this position no longer exist: the outbox was pruned before the handler had them. */
  miss(position: number): void {
    this.#report.missed(this.#source.partition, position - this.progress.cursor)
    this.progress.cursor = position
  }

  /** Resolves when it is at no event. */
  idle(): Promise<void> {
    return this.#work
  }

  /** Handles all that there is. Returns when it has to wait; never throws, and never runs twice at a time. */
  work(): Promise<void> {
    if (this.#working || this.#resumeAtMs > this.#ground.clock.nowMs()) return this.#work
    this.#working = true
    this.#work = this.#run()
    return this.#work
  }

  async #run(): Promise<void> {
    let turnEndsMs = performance.now() + TURN_MS
    try {
      while (this.#source.isActive) {
        const held = this.#held.due(this.#ground.clock.nowMs())
        if (held) await this.#retry(held)
        else {
          if (this.#held.size >= limits.heldEventsMax) break
          const next = this.#source.next(this)
          const events = next instanceof Promise ? await next : next
          if (events.length === 0) break
          if (this.handler.transactional) await this.#takeTransactional(events)
          else await this.#take(events)
        }
        this.#troubles = 0
        this.#report.count()
        this.#source.moved()
        if (performance.now() < turnEndsMs) continue
        await new Promise(setImmediate)
        turnEndsMs = performance.now() + TURN_MS
      }
    } catch (error) {
      this.#trouble(error)
    } finally {
      this.#working = false
      this.#eventSinceMs = 0
      this.#report.count()
    }
  }

  async #take(events: readonly EventEnvelope[]): Promise<void> {
    for (const event of events) {
      if (!this.#source.isActive) return
      if (this.handler.handles(event.type)) {
        if (this.#held.has(event.runId)) await this.#setAside(event, undefined, event.position)
        else {
          try {
            const startedMs = this.#begin()
            const delivered = this.#ground.deliveries.call(this.handler, event, 1)
            if (delivered) await delivered
            this.#report.handled(event.type, this.#end(startedMs))
          } catch (error) {
            await this.#setAside(event, failureOf(error), event.position)
          }
        }
      }
      this.progress.cursor = event.position
    }
  }

  /** Many events in one transaction; where one fails, each in its own. */
  async #takeTransactional(events: readonly EventEnvelope[]): Promise<void> {
    for (let i = 0; i < events.length && this.#source.isActive; ) {
      const batch: EventEnvelope[] = []
      let end = i
      for (; end < events.length && batch.length < this.#batchMax; end++) {
        const event = events[end] as EventEnvelope
        if (this.handler.handles(event.type)) batch.push(event)
      }
      const to = (events[end - 1] as EventEnvelope).position
      if (batch.length === 0) {
        this.progress.cursor = to
        return
      }
      try {
        await this.#handleTogether(batch, to)
        this.#batchMax = Math.min(limits.eventTransactionMax, this.#batchMax * 2)
      } catch (error) {
        const first = batch[0] as EventEnvelope
        if (batch.length > 1) {
          this.#batchMax = 1
          if (isTrouble(error)) throw error
          continue
        }
        await this.#setAside(first, failureOf(error), to)
      }
      i = end
    }
  }

  async #handleTogether(events: readonly EventEnvelope[], to: number): Promise<void> {
    const { deliveries } = this.#ground
    const waiting: EventEnvelope[] = []
    const handled: (readonly [type: string, tookMs: number])[] = []
    await this.progress.store(to, async (tx) => {
      for (const event of events) {
        if (this.#held.has(event.runId)) waiting.push(event)
        else {
          const startedMs = this.#begin()
          await deliveries.call(this.handler, event, 1, tx)
          handled.push([event.type, this.#end(startedMs)])
        }
      }
      await this.#insertRetries(
        tx,
        waiting.map((event) => ({ event, attempts: 0, cause: null, delayMs: 0 })),
      )
    })
    for (const [type, tookMs] of handled) this.#report.handled(type, tookMs) // now that it is committed
    for (const event of waiting) this.#held.add(this.#heldEvent(event, 0, null, 0))
  }

  /** Keeps an event for later, because it has failed or because it waits for one of its run that has. */
  async #setAside(event: EventEnvelope, failure: HandlerFailure | undefined, to: number): Promise<void> {
    this.#eventSinceMs = 0
    const cause = failure && causeOf(failure)
    const attempts = failure ? 1 : 0
    if (failure) this.#report.failed(event, attempts, failure)
    if (attempts >= this.handler.attemptsMax) {
      await this.progress.store(to, (tx) =>
        this.#bury(tx, { event, attempts, cause: cause ?? 'null', handler: this.handler.name }),
      )
      this.#report.buried(event)
    } else {
      const delayMs = failure ? this.#delayMs(attempts) : 0
      await this.progress.store(to, (tx) =>
        this.#insertRetries(tx, [{ event, attempts, cause: cause ?? null, delayMs }]),
      )
      this.#held.add(this.#heldEvent(event, attempts, cause ?? null, delayMs))
    }
    this.progress.cursor = to
  }

  /** One more delivery of an event that was set aside. */
  async #retry(held: HeldEvent): Promise<void> {
    const { group, deliveries, database } = this.#ground
    const { event, attempts } = held
    try {
      const startedMs = this.#begin()
      if (this.handler.transactional) {
        await this.progress.exclusively(() =>
          database.transaction(async (tx) => {
            allowIdle(tx, limits.eventHandlerTimeoutMs).catch(() => undefined) // what comes behind it tells
            await deliveries.call(this.handler, event, attempts + 1, tx)
            return lastFlight(deleteRetry(tx, group, held))
          }),
        )
      } else {
        await deliveries.call(this.handler, event, attempts + 1)
        await deleteRetry(database, group, held)
      }
      this.#report.handled(event.type, this.#end(startedMs))
      this.#held.finish(held)
    } catch (error) {
      await this.#failAgain(held, failureOf(error))
    }
  }

  async #failAgain(held: HeldEvent, failure: HandlerFailure): Promise<void> {
    this.#eventSinceMs = 0
    const { group, database, clock } = this.#ground
    const { event } = held
    const attempts = held.attempts + 1
    const cause = causeOf(failure)
    this.#report.failed(event, attempts, failure)
    if (attempts >= this.handler.attemptsMax) {
      await database.transaction(async (tx) => {
        await this.#bury(tx, { event, attempts, cause, handler: this.handler.name })
        return lastFlight(deleteRetry(tx, group, held))
      })
      this.#held.finish(held)
      this.#report.buried(event)
      return
    }
    const delayMs = this.#delayMs(attempts)
    await postponeRetry(database, group, held, cause, delayMs)
    this.#held.postpone({ ...held, attempts, cause, dueMs: clock.nowMs() + delayMs })
  }

  #insertRetries(tx: Tx, retries: readonly (Omit<Retry, 'handler'> & { delayMs: number })[]): Promise<void> {
    const handler = this.handler.name
    return insertRetries(
      tx,
      this.#ground.group,
      retries.map((retry) => ({ ...retry, handler })),
    )
  }

  #bury(tx: Tx, dead: { event: EventEnvelope; attempts: number; cause: string; handler: string }): Promise<void> {
    return insertDeadEvent(tx, this.#ground.group, dead)
  }

  #heldEvent(event: EventEnvelope, attempts: number, cause: string | null, delayMs: number): HeldEvent {
    return { handler: this.handler.name, event, attempts, cause, dueMs: this.#ground.clock.nowMs() + delayMs }
  }

  #begin(): number {
    const startedMs = performance.now()
    this.#eventSinceMs = this.#ground.clock.nowMs()
    return startedMs
  }

  /** The handler is at no event any more; returns how long it took. */
  #end(startedMs: number): number {
    this.#eventSinceMs = 0
    return performance.now() - startedMs
  }

  #delayMs(attempt: number): number {
    const { eventBackoffMsBase: baseMs, eventBackoffMsCap: capMs } = limits
    // At least half of it: full jitter could use up all attempts in an instant.
    return Math.ceil(baseMs / 2 + backoffMs({ attempt, baseMs, capMs, random: this.#ground.random }))
  }

  /** Nothing is known to be wrong with an event: it is the database that does not answer, or another reactor. */
  #trouble(error: unknown): void {
    const { log, clock, random } = this.#ground
    if (isStale(error)) {
      log.info({ handler: this.handler.name, partition: this.#source.partition }, 'Another reactor has this partition')
      this.#source.lost()
      return
    }
    const attempt = ++this.#troubles
    this.#resumeAtMs =
      clock.nowMs() + TROUBLE_BASE_MS + backoffMs({ attempt, baseMs: TROUBLE_BASE_MS, capMs: TROUBLE_CAP_MS, random })
    const message = error instanceof Error ? error.message.slice(0, LOGGED_MESSAGE_CHARS_MAX) : String(error)
    log.warn(
      { error: message, handler: this.handler.name, attempt },
      'A handler’s progress can’t be stored, trying again',
    )
  }
}
