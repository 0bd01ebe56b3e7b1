interface EventTypeEntry {
  /** The change that the event announces; it is committed before anybody hears of it. */
  readonly when: string
  /** The fields of `data`, each with its meaning. */
  readonly data: Readonly<Record<string, string>>
}

const RUN_END = {
  agent: 'name of the agent',
  status: 'final status of the run',
  reason: 'code of why it ended so; null when it succeeded',
  steps: 'number of steps',
  tokensIn: 'tokens sent to models; null when no step has any',
  tokensOut: 'tokens received from models; null when no step has any',
  costUsd: 'cost in US dollars; null when it is unknown',
}

const ALERT = {
  alertId: 'id of the alert, the same each time it fires',
  type: 'MISSING_ACK, DRIFT, STALE_RUN, RECONCILIATION_FAILED or EXPECTATION_TIMEOUT',
  subject: 'what of the run it is about, as in incidents/create_incident',
  domain: 'whose it is: incidents, policies, logs, orchestrator or audit',
  severity: 'warning, error or critical',
  message: 'what was found',
  times: 'how often it has begun to fire',
}

/** Every event type: the single source of the type `EventType` and of docs/reference/events.md. */
export const eventTypes = Object.freeze({
  'run.created': {
    when: 'A run was submitted.',
    data: {
      agent: 'name of the agent',
      agentVersion: 'version of the agent',
      priority: '-100 to 100; higher runs first among those of its tenant',
    },
  },
  'run.started': {
    when: 'A worker claimed the run for the first time.',
    data: {
      agent: 'name of the agent',
      agentVersion: 'version of the agent',
      workerId: 'id of the worker that claimed it',
    },
  },
  'run.stop_requested': {
    when: 'The run is to be stopped: a person asked for it, its tenant was suspended, or its parent run has ended.',
    data: {
      by: 'who asked; the id of the parent run where that is why',
      as: 'as what; absent of a stop with its parent',
      why: 'the reason given',
      kind: 'stop, suspension or parent',
    },
  },
  'run.paused': {
    when: 'A run was paused, and holds no worker until it is resumed.',
    data: {
      pauseId: 'id of the pause',
      reason: 'POLICY_CHANGE, BUDGET_WARNING, APPROVAL_REQUIRED, INPUT_REQUIRED, RATE_LIMIT_SOFT or MANUAL_PAUSE',
      message: 'what stands against its next step, or why a person paused it',
      by: 'who paused it',
      as: 'as what; SYSTEM_AUTO is Concordat itself',
      timeoutAt: 'when the pause is over its time',
    },
  },
  'run.resumed': {
    when: 'A paused run was resumed: it goes on as soon as a worker is free.',
    data: {
      pauseId: 'id of the pause that ended',
      reason: 'why it was paused',
      by: 'who resumed it',
      as: 'as what; SYSTEM_AUTO is Concordat itself',
      note: 'what was noted with it; null where nothing was',
    },
  },
  'approval.requested': {
    when: 'A step asks somebody to approve it; its run is paused meanwhile.',
    data: {
      approvalId: 'id of the approval',
      stepKey: 'the step that asks',
      purpose: 'ACTION, or REPEAT for a step that may have acted already',
      digest: 'SHA-256 over the exact action, in hex',
      message: 'what is asked, for people',
      approvers: 'as what somebody may decide; OPERATOR always may',
      policy: 'name of the policy that asks; null when the agent does',
      expiresAt: 'when it expires unless somebody decides, RFC 3339',
    },
  },
  'approval.decided': {
    when: 'Somebody approved or rejected a step, and its run goes on with that.',
    data: {
      approvalId: 'id of the approval',
      stepKey: 'the step that asked',
      decision: 'approved or rejected',
      by: 'who decided',
      as: 'as what, as in TENANT_ADMIN',
      note: 'the reason given; null when none was',
    },
  },
  'approval.expired': {
    when: 'Nobody decided an approval in time, or it was given and not used in time.',
    data: {
      approvalId: 'id of the approval',
      stepKey: 'the step that asked',
      expiresAt: 'when its time was over, RFC 3339',
    },
  },
  'run.completed': { when: 'The run succeeded, and its whole footprint is committed.', data: RUN_END },
  'run.failed': {
    when: 'The run failed, was refused or was stopped, and its whole footprint is committed.',
    data: RUN_END,
  },
  'incident.created': {
    when: 'The incident record of a run that ended was created; one that succeeded has one too.',
    data: {
      incidentId: 'id of the incident',
      outcome: 'SUCCESS, PARTIAL, FAILURE or BLOCKED',
      severity: 'severity of the incident',
    },
  },
  'policy.evaluated': {
    when: 'The policies in scope were evaluated at the end of a run.',
    data: {
      evaluationId: 'id of the evaluation',
      outcome: 'NOT_APPLICABLE, NO_VIOLATION, ADVISORY or VIOLATION',
    },
  },
  'policy.changed': {
    when: 'Policies of a tenant were changed; it is about no run, and its subject is the nil UUID.',
    data: { changes: 'policies created, changed or removed, each with name, change, version and previousVersion' },
  },
  'threshold.exceeded': {
    when: 'What was used in a period passed 50, 80 or 95 % of a limit; once a period and threshold.',
    data: {
      policy: 'name of the policy',
      metric: 'what it counts',
      scope: 'run, agent, tenant or api_key',
      subject: 'whose use it is: run/ID, agent/NAME, tenant or key/NAME',
      window: 'run, minute, hour, day or month',
      since: 'when the period began; null for a run',
      threshold: '50, 80 or 95',
      used: 'what was used so far, in the unit of the metric',
      limit: 'the most that is allowed',
    },
  },
  'trace.started': { when: 'The trace of a run was opened.', data: { traceId: 'id of the trace' } },
  'trace.completed': {
    when: 'The trace of a run was closed.',
    data: { traceId: 'id of the trace', ending: 'COMPLETE or ABORTED' },
  },
  'tenant.suspended': {
    when: 'A tenant was suspended. What its runs had in flight is stopped, and new runs are denied.',
    data: { by: 'who suspended it', as: 'as what', why: 'the reason given' },
  },
  'tenant.resumed': {
    when: 'A suspended tenant was let in again. Its queued runs go on.',
    data: { by: 'who resumed it', as: 'as what', why: 'the reason given' },
  },
  'audit.reconciliation.missing': {
    when: 'A reconciliation found audit actions that were expected and not acknowledged.',
    data: { result: 'COMPLETE, INCOMPLETE or STALE', findings: 'what was found, each with domain and action' },
  },
  'audit.expectation.timeout': {
    when: 'A reconciliation found audit actions past their deadline, of a run that has not ended.',
    data: { result: 'COMPLETE, INCOMPLETE or STALE', findings: 'what was found, each with domain and action' },
  },
  'audit.reconciliation.drift': {
    when: 'A reconciliation found acknowledgements that nothing expected, or a second one of the same action.',
    data: { result: 'COMPLETE, INCOMPLETE or STALE', findings: 'what was found, each with domain and action' },
  },
  'audit.reconciliation.stale': {
    when: 'A reconciliation found a run that should have ended by now.',
    data: { result: 'COMPLETE, INCOMPLETE or STALE', findings: 'what was found, each with domain and action' },
  },
  'audit.reconciliation.failed': {
    when: 'A run could not be held against its contract, its contract is not valid, or a domain refuses its end.',
    data: { result: 'COMPLETE, INCOMPLETE or STALE', findings: 'what was found, each with domain and action' },
  },
  'alert.raised': { when: 'An alert began to fire.', data: ALERT },
  'alert.resolved': { when: 'What an alert told of is over.', data: ALERT },
} as const satisfies Record<string, EventTypeEntry>)

export type EventType = keyof typeof eventTypes
