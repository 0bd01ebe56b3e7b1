import type { BudgetLimit, Meter } from './meter.ts'

/** What one step, or a gate on behalf of several, changes in one row of the ledger. */
export interface ChargeLine {
  readonly meter: Meter
  /** Its `meterKey`. */
  readonly key: string
  readonly limits: readonly BudgetLimit[]
  /** Reserved by the run's worker alone until now: it had the room, and comes before all else. */
  readonly carried: bigint
  /** Given back of what the holder has reserved. */
  readonly release: bigint
  /** Of that: what an approval had reserved beyond the limits. */
  readonly releaseApproved: bigint
  /** Reserved for a step that is about to run: on all lines of the charge, or on none. */
  readonly need: bigint
  /** Reserved for steps that had begun when the limits came into force: also where there is no room, as an overrun. */
  readonly begun: bigint
  /** The first charge of this execution on the row: from here on the run counts in it, until the run ends. */
  readonly joins: boolean
  /** What the run's recorded steps of the period have used is settled with that, if the run has not counted here before. */
  readonly recounts: boolean
  /** Reserved for what may come next, where there is ample room. */
  readonly ahead: bigint
  /** Used. Negative where a known use corrects an estimated one. */
  readonly settled: bigint
  /** Of what is settled: beyond what was reserved for it. */
  readonly overrun: bigint
  /** Of what is settled: reservations of aborted steps of which nobody knows what they used. */
  readonly estimated: bigint
  /** Of what is settled: known use of steps whose rows don't have it, as of aborted ones. */
  readonly unrecorded: bigint
  /** Model calls whose price nobody knows. */
  readonly uncosted: number
  /** True when a step used more than its code had declared. */
  readonly overDeclared: boolean
}

/** What happens in the ledger at once, on behalf of one run. */
export interface Charge {
  readonly tenantId: string
  readonly runId: string
  /** Who holds what is reserved: one execution of the run by one worker. */
  readonly holder: string
  readonly lines: readonly ChargeLine[]
  /** Needs are reserved though there is no room: under `OBSERVE_ONLY` nothing is refused. */
  readonly force: boolean
  /** Somebody has approved the step: limits that ask for an approval don't refuse it. */
  readonly approved: boolean
  /** True when rows of the ledger may have to be made. */
  readonly opens: boolean
}

/** A limit that is broken, or that a step would break. */
export interface BrokenLimit {
  readonly limit: BudgetLimit
  readonly meter: Meter
  /** Settled, in the meter's unit. */
  readonly used: bigint
  readonly need: bigint
  readonly message: string
}

/**
 * How a charge went. `contended`: there is room but for what others have reserved, which they may not use.
 * `broken`: there is none.
 */
export interface ChargeReply {
  readonly kind: 'granted' | 'contended' | 'broken'
  /** Limits that the need would break, or that the settlement has broken, those that only warn among them. */
  readonly broken: readonly BrokenLimit[]
  /** In the order of the charge. */
  readonly lines: readonly {
    readonly ahead: bigint
    readonly settled: bigint
    /** Of what was asked for steps: reserved beyond a limit, and recorded as an overrun. */
    readonly approved: bigint
  }[]
  /** The tenant's version of its policies at the time. */
  readonly policiesVersion: number
}

/** Pure. The same charge of a step whose row will not have what it used. */
export function unrecorded(charge: Charge): Charge {
  const lines = charge.lines.map((line) => {
    const isSpent = line.meter.metric === 'cost_usd' || line.meter.metric === 'tokens'
    return isSpent ? { ...line, unrecorded: line.settled - line.estimated } : line
  })
  return { ...charge, lines }
}
