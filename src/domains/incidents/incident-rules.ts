/** What the incidents domain needs to know of a run that ends. */
export interface RunEnding {
  readonly tenantId: string
  readonly runId: string
  readonly status: 'succeeded' | 'failed' | 'failed_policy' | 'cancelled'
  readonly reason: string
  readonly message: string
  readonly traceGaps: number
  readonly failedSteps: number
}

export type IncidentOutcome = 'SUCCESS' | 'PARTIAL' | 'FAILURE' | 'BLOCKED'

/** Existence never varies, content does: the outcome column of SPEC §1's table. */
export function outcomeOf({
  status,
  traceGaps,
  failedSteps,
}: Pick<RunEnding, 'status' | 'traceGaps' | 'failedSteps'>): IncidentOutcome {
  switch (status) {
    case 'succeeded':
      return traceGaps > 0 || failedSteps > 0 ? 'PARTIAL' : 'SUCCESS'
    case 'cancelled':
      return 'PARTIAL'
    case 'failed_policy':
      return 'BLOCKED'
    case 'failed':
      return 'FAILURE'
  }
}

const SEVERITIES = {
  SUCCESS: 'info',
  PARTIAL: 'warning',
  FAILURE: 'error',
  BLOCKED: 'error',
} as const satisfies Record<IncidentOutcome, string>

/** PagerDuty's words: info, warning, error, critical. */
export function severityOf(outcome: IncidentOutcome): string {
  return SEVERITIES[outcome]
}
