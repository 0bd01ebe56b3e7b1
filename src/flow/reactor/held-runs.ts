import type { Retry } from './retry-store.ts'

/** A stored retry with the time from which it may be tried; it waits for the earlier ones of its run in any case. */
export interface HeldEvent extends Retry {
  readonly dueMs: number
}

/** The runs that one handler has failed on: each gets its events again in order, and holds up no other run. */
export class HeldRuns {
  readonly #runs = new Map<string, HeldEvent[]>()
  #size = 0

  get size(): number {
    return this.#size
  }

  has(runId: string): boolean {
    return this.#size > 0 && this.#runs.has(runId)
  }

  /** Puts an event behind those of its run. */
  add(held: HeldEvent): void {
    const queue = this.#runs.get(held.event.runId)
    if (queue) queue.push(held)
    else this.#runs.set(held.event.runId, [held])
    this.#size++
  }

  /** The first event of some run whose time has come. */
  due(nowMs: number): HeldEvent | undefined {
    for (const [first] of this.#runs.values()) if (first && first.dueMs <= nowMs) return first
    return undefined
  }

  /** The first event of the run is to be tried again later. */
  postpone(held: HeldEvent): void {
    const queue = this.#runs.get(held.event.runId)
    if (queue) queue[0] = held
  }

  /** The first event of the run is done with. */
  finish({ event: { runId } }: HeldEvent): void {
    const queue = this.#runs.get(runId)
    if (!queue?.shift()) return
    this.#size--
    if (queue.length === 0) this.#runs.delete(runId)
  }
}
