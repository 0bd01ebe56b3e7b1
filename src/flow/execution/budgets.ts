import type { Clock } from '../../foundation/clock.ts'
import type { IdSource } from '../../foundation/ids.ts'
import type { Logger } from '../../foundation/log.ts'
import type { RecordStep, RunOrchestrationKernel } from '../kernel/kernel.ts'
import { BudgetGate } from './budget-gate.ts'
import type { RunControl } from './run-control.ts'

export interface BudgetsOptions {
  readonly kernel: Pick<RunOrchestrationKernel, 'charge' | 'recordStep'>
  /** OBSERVE_ONLY: use is counted, and nothing is refused. */
  readonly muted: boolean
  readonly newId: IdSource
  readonly clock: Clock
  readonly random: () => number
  readonly log: Logger
}

/** The gates of the runs that this process executes; brings each what became of the charges that it sent. */
export class Budgets {
  readonly #options: BudgetsOptions
  readonly #gates = new Map<string, BudgetGate>()

  constructor(options: BudgetsOptions) {
    this.#options = options
  }

  /** A gate for one execution of a run. It is forgotten when the run is closed here. */
  open(control: RunControl): BudgetGate {
    const { kernel, muted, newId, clock, random, log } = this.#options
    const { claim } = control
    const { tenantId, runId, agent, fresh, apiKeyId: apiKey, ancestors } = claim
    const gate = new BudgetGate({
      run: { tenantId, runId, agent, apiKey, ancestors },
      lease: claim,
      fresh,
      newId,
      charge: (request) => kernel.charge(request),
      muted,
      clock,
      random,
      log,
      onPolicies: (version) => control.heardOfPolicies(version),
      onReserving: (holder) => this.#gates.set(holder, gate),
      onClosed: (holder) => this.#gates.delete(holder),
    })
    return gate
  }

  /** Records the step with its charge, and tells its gate what became of that. */
  async record(record: RecordStep): Promise<void> {
    const reply = await this.#options.kernel.recordStep(record)
    if (reply && record.charge) this.#gates.get(record.charge.holder)?.heard(record.charge, reply)
  }
}
