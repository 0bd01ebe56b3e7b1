import type { RunEnd, RunStop, Waiting } from '../../domains/runs/runs.ts'
import type { Claim, PauseOrder } from '../kernel/kernel.ts'

/** Why a run stops executing here before its agent's code has returned. */
export type Interruption =
  | { readonly kind: 'end'; readonly end: RunEnd }
  /** `stop` is what an order has for the run, whose row may not have it yet; null: its row has one. */
  | { readonly kind: 'stop'; readonly stop: RunStop | null; readonly deliveredAt: Date }
  | {
      readonly kind: 'suspend'
      readonly waiting: Waiting
      readonly dueAt: Date | null
      /** How many signals the run had got when the first of its waits was looked at; null: it waits for none. */
      readonly signalsSeen: number | null
    }
  /** Null: as a person has asked for it; the run's row says who and why. */
  | { readonly kind: 'pause'; readonly pause: PauseOrder | null }
  /** The lease is lost: nothing may be written any more. */
  | { readonly kind: 'lost' }

/** What the signals of interrupted steps abort with. Making one takes as long as an abort: many runs may share it. */
export function interrupted({ kind }: Interruption): DOMException {
  return new DOMException(`the run was interrupted: ${kind}`, 'AbortError')
}

/**
 * The switch between the outside world and one executing run. The first interruption wins; it aborts every step in
 * flight and keeps new ones from starting, by promises that never resolve, so that a try/catch can't swallow it.
 */
export class RunControl {
  readonly claim: Claim
  readonly interrupted: Promise<Interruption>
  #abort: AbortController | undefined
  #interruption: Interruption | undefined
  #lost = false
  #pauseRequested = false
  #policiesVersion: number
  #policiesChanged: () => void = () => {}
  #interrupt: (interruption: Interruption) => void = () => {}

  constructor(claim: Claim) {
    this.claim = claim
    this.#policiesVersion = claim.policiesVersion
    this.interrupted = new Promise((resolve) => {
      this.#interrupt = resolve
    })
  }

  /** Made when somebody asks for it: most steps never do. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController()
    if (this.#interruption) this.#abort.abort(interrupted(this.#interruption))
    return this.#abort.signal
  }

  /** True once the lease is known to be lost, also when that comes after another interruption. */
  get lost(): boolean {
    return this.#lost
  }

  /** The latest version of the tenant's policies that this worker has heard of. */
  get policiesVersion(): number {
    return this.#policiesVersion
  }

  heardOfPolicies(version = 0): void {
    if (version <= this.#policiesVersion) return
    this.#policiesVersion = version
    this.#policiesChanged()
  }

  /** Called for each version that comes after the run was claimed. */
  whenPoliciesChange(changed: () => void): void {
    this.#policiesChanged = changed
  }

  get interruption(): Interruption | undefined {
    return this.#interruption
  }

  /** True once a person has asked for a pause: the step in flight ends, the next one does not begin. */
  get pauseRequested(): boolean {
    return this.#pauseRequested
  }

  requestPause(): void {
    this.#pauseRequested = true
  }

  interrupt(interruption: Interruption, reason?: DOMException): void {
    if (interruption.kind === 'lost') this.#lost = true
    if (this.#interruption) return
    this.#interruption = interruption
    this.#interrupt(interruption)
    this.#abort?.abort(reason ?? interrupted(interruption))
  }
}
