import type { Clock } from '../../foundation/clock.ts'
import type { PauseOrder } from '../kernel/kernel.ts'
import type { Interruption, RunControl } from './run-control.ts'
import { type Suspension, sooner } from './suspension.ts'

/** A step's promise when the run is interrupted: it never resolves, and the run's code stops where it is. */
export const NEVER = new Promise<never>(() => {})

/**
 * The steps of one run whose results are not recorded yet. A step can ask that the run waits or pauses: that happens
 * once those beside it are recorded, and none begins after a pause is asked for.
 */
export class StepsInFlight {
  readonly #control: RunControl
  readonly #clock: Clock
  #count = 0
  #suspension: Suspension | undefined
  #pausing: Extract<Interruption, { kind: 'pause' }> | undefined
  #onIdle: (() => void) | undefined

  constructor(control: RunControl, clock: Clock) {
    this.#control = control
    this.#clock = clock
  }

  /** True when no step is under way whose result is not recorded. */
  get settled(): boolean {
    return this.#count === 0
  }

  /** True when no further step may begin here. */
  get closed(): boolean {
    return this.#control.interruption !== undefined || this.#pausing !== undefined
  }

  /** Resolves when the code of every step in flight has returned, as after an interruption that it honours. */
  idle(): Promise<void> {
    if (this.settled) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onIdle = resolve
    })
  }

  enter(): void {
    this.#count++
  }

  leave(): void {
    this.#count--
    if (!this.settled) return
    this.#onIdle?.()
    if (!this.#held) return
    // A turn later, because code that just got a result may go on to its next step.
    setImmediate(() => {
      if (this.settled && this.#held) this.#control.interrupt(this.#held)
    })
  }

  /** What interrupts the run once no step is in flight: a pause before a wait, because it lasts until it is ended. */
  get #held(): Interruption | undefined {
    return this.#pausing ?? (this.#suspension && { kind: 'suspend', ...this.#suspension })
  }

  /** The step goes no further here. */
  never(): Promise<never> {
    this.leave()
    return NEVER
  }

  /** Gives the slot back once the steps beside it are recorded too. */
  suspend(suspension: Suspension): Promise<never> {
    this.#suspension = sooner(this.#suspension, suspension)
    return this.never()
  }

  /** Pauses the run instead of going on with a step, once the steps beside it are recorded. Null: as a person asked. */
  pause(pause: PauseOrder | null): Promise<never> {
    this.#pausing ??= { kind: 'pause', pause }
    return this.never()
  }

  /** Does what stands against a step. */
  yieldTo(refusal: Interruption): Promise<never> {
    if (refusal.kind === 'suspend') return this.suspend({ ...refusal, dueAt: refusal.dueAt ?? this.#clock.now() })
    if (refusal.kind === 'pause') return this.pause(refusal.pause)
    this.#control.interrupt(refusal)
    return this.never()
  }
}
