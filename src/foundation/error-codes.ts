export type ErrorKind = 'terminal' | 'retryable'

interface ErrorCodeEntry {
  /** Whether the same call may succeed later without a change by the caller. */
  readonly kind: ErrorKind
  /** What happened, for the reference page. */
  readonly meaning: string
  /** What to do, unless the place that throws knows better. */
  readonly hint: string
  /** Exit code of a command that ends with this error; 1 (the work failed) where none is given. */
  readonly exitCode?: 2 | 3 | 4
}

/** Every error code of the product: the single source of the type `ErrorCode` and of docs/reference/errors.md. */
export const errorCodes = Object.freeze({
  // What the caller sent
  INVALID_REQUEST: {
    kind: 'terminal',
    meaning: 'The request or command is malformed.',
    hint: 'Correct the named field or argument and send it again.',
    exitCode: 2,
  },
  INVALID_INPUT: {
    kind: 'terminal',
    meaning: "A value does not fit what is expected of it, for instance a run's input its agent's schema.",
    hint: 'Compare the value with the expected schema or range; the message names the field.',
    exitCode: 2,
  },
  UNKNOWN_TENANT: {
    kind: 'terminal',
    meaning: 'There is no tenant of that name.',
    hint: 'Use an existing tenant; `default` always exists.',
    exitCode: 2,
  },
  CHILD_FAILED: {
    kind: 'terminal',
    meaning: 'A run that a step had started did not succeed; details name it and its status.',
    hint: 'Look at it with `runs get`, or catch this error in the agent.',
  },
  TOO_MANY_CHILDREN: {
    kind: 'terminal',
    meaning: 'A run would start more runs, or deeper ones, than are allowed.',
    hint: 'Start fewer: 1,000 a run and 8 levels at the most.',
  },
  TENANT_EXISTS: {
    kind: 'terminal',
    meaning: 'A tenant of that name exists already.',
    hint: 'Choose another name; `tenants list` shows those that there are.',
  },
  UNKNOWN_AGENT: {
    kind: 'terminal',
    meaning: 'No agent of that name and version is registered.',
    hint: 'Add the agent to concordat.config.ts, or start a worker that has it.',
    exitCode: 2,
  },
  UNKNOWN_HANDLER: {
    kind: 'terminal',
    meaning: 'No reactor of the group has ever had a handler of that name.',
    hint: 'Use one of the handlers that the message lists.',
    exitCode: 2,
  },
  UNKNOWN_SKILL: {
    kind: 'terminal',
    meaning: 'A plan names a skill that is not registered.',
    hint: 'Use one of the skills that the message lists, or register your own in concordat.config.ts.',
    exitCode: 2,
  },
  INVALID_PLAN: {
    kind: 'terminal',
    meaning: 'A plan, or the parameters of one of its skills, does not fit the schema.',
    hint: 'Correct the step that the message names.',
    exitCode: 2,
  },
  INVALID_REFERENCE: {
    kind: 'terminal',
    meaning: 'A plan refers to a step that does not exist or comes later, or to a value that its result lacks.',
    hint: 'Refer only to earlier steps, as in {{ steps.name.output.field }}.',
    exitCode: 2,
  },
  INVALID_POLICY: {
    kind: 'terminal',
    meaning: 'A policy does not fit the schema, its expression does not compile, or a name is there twice.',
    hint: 'Correct what the message names; `concordat policies lint` shows the place. Nothing was changed.',
    exitCode: 2,
  },
  POLICY_NOT_FOUND: {
    kind: 'terminal',
    meaning: 'The tenant has no policy of that name.',
    hint: 'Check name and tenant with `concordat policies list`.',
  },
  PLAN_TOO_LONG: {
    kind: 'terminal',
    meaning: 'A plan has more steps than are allowed.',
    hint: 'Split the plan into several runs.',
    exitCode: 2,
  },
  INPUT_TOO_LARGE: {
    kind: 'terminal',
    meaning: 'An input is larger than allowed.',
    hint: 'Store the data elsewhere and pass its address.',
    exitCode: 2,
  },
  OUTPUT_TOO_LARGE: {
    kind: 'terminal',
    meaning: "A step's output is larger than allowed.",
    hint: 'Store the data elsewhere and return its address.',
  },
  NOT_SERIALIZABLE: {
    kind: 'terminal',
    meaning: 'A value cannot be kept as JSON without loss.',
    hint: 'Return plain data: no functions, symbols, bigints, NaN, Map, Set or cycles.',
  },
  MALFORMED_TRAJECTORY: {
    kind: 'terminal',
    meaning: 'A line of a trajectory file is not a recorded trajectory.',
    hint: 'Correct or remove the line; the other lines were replayed.',
  },
  IDEMPOTENCY_CONFLICT: {
    kind: 'terminal',
    meaning: 'The idempotency key was used before with another request.',
    hint: 'Use a new key for a new request, or repeat the first request unchanged.',
  },
  RUN_NOT_FOUND: {
    kind: 'terminal',
    meaning: 'There is no run of that id for this tenant.',
    hint: 'Check the id and the tenant with `concordat runs list`.',
  },
  SUBSCRIPTION_NOT_FOUND: {
    kind: 'terminal',
    meaning: 'There is no subscription of that id.',
    hint: 'Look for its id with `concordat subscriptions list`.',
  },
  ALERT_NOT_FOUND: {
    kind: 'terminal',
    meaning: 'There is no alert of that id, or it does not fire any more.',
    hint: 'Look for its id with `concordat alerts list --state all`.',
  },
  RUN_ENDED: {
    kind: 'terminal',
    meaning: 'The run has ended, or is past the point where it can still be changed.',
    hint: 'Look at how it ended with `concordat runs get`.',
  },

  TOO_MANY_SIGNALS: {
    kind: 'retryable',
    meaning: 'More signals came for a run than are kept for steps that do not wait for them yet.',
    hint: 'See with `concordat runs get` what the run waits for; send what it does not wait for later.',
  },
  RUN_PAUSED: {
    kind: 'terminal',
    meaning: 'The run is paused already, or about to be.',
    hint: 'Resume it with `concordat runs resume`.',
  },
  RUN_NOT_PAUSED: {
    kind: 'terminal',
    meaning: 'The run is not paused: nobody paused it, or somebody else has resumed it before.',
    hint: 'Look at its pauses with `concordat runs get`.',
  },
  SUSPENSION_FORBIDDEN: {
    kind: 'terminal',
    meaning: 'Only an operator may suspend a tenant or let it in again; nothing was changed.',
    hint: 'Ask an operator, or stop its runs with `concordat runs stop --all`.',
  },
  RESUME_FORBIDDEN: {
    kind: 'terminal',
    meaning: 'The pause may not be resumed by this authority; the attempt is recorded.',
    hint: 'Ask one of those whom the message names.',
  },

  APPROVAL_NOT_FOUND: {
    kind: 'terminal',
    meaning: 'There is no approval of that id for this tenant.',
    hint: 'Check the id and the tenant with `concordat approvals list`.',
  },
  APPROVAL_CLOSED: {
    kind: 'terminal',
    meaning: 'The approval is not pending any more: somebody decided it, its time is over, or its run has ended.',
    hint: 'See with `concordat approvals get` who decided, when and why.',
  },
  APPROVAL_FORBIDDEN: {
    kind: 'terminal',
    meaning: 'The approval may not be decided by this authority; the attempt is recorded.',
    hint: 'Ask one of those whom the message names.',
  },
  APPROVAL_PENDING: {
    kind: 'terminal',
    meaning: 'The run is paused for an approval: it goes on by its decision, not by a resume.',
    hint: 'Decide it with `concordat approvals decide`.',
  },

  // How it is set up
  INVALID_CONFIGURATION: {
    kind: 'terminal',
    meaning: 'A configuration variable is wrong, or two of them contradict each other.',
    hint: 'Change the named variables; `concordat doctor` shows what is effective.',
    exitCode: 3,
  },
  SECRET_MISSING: {
    kind: 'terminal',
    meaning: 'A secret that an agent or skill asks for is not set.',
    hint: 'Set the secret where the worker runs.',
    exitCode: 3,
  },
  SCHEMA_NEWER: {
    kind: 'terminal',
    meaning: 'The database was migrated by a newer version of Concordat.',
    hint: 'Update Concordat to the version that migrated the database, or a later one.',
    exitCode: 3,
  },
  EMBEDDED_LOCKED: {
    kind: 'terminal',
    meaning: 'Another process has the embedded database open.',
    hint: 'Stop the other process, use another CONCORDAT_DATA_DIR, or set DATABASE_URL to share a PostgreSQL server.',
    exitCode: 3,
  },

  // What Concordat depends on
  DATABASE_UNREACHABLE: {
    kind: 'retryable',
    meaning: 'The database does not answer.',
    hint: 'Check that the server runs and that DATABASE_URL is right.',
    exitCode: 4,
  },
  DATABASE_ERROR: {
    kind: 'terminal',
    meaning: 'The database refused a statement.',
    hint: "See the cause; the server's log has the details.",
  },
  RUNTIME_CLOSED: {
    kind: 'terminal',
    meaning: 'The runtime was closed by its program, which asks it for something all the same.',
    hint: 'Close the runtime last, or ask another one: `createConcordat` on the same database, or `concordat runs get`.',
  },
  BUS_UNREACHABLE: {
    kind: 'retryable',
    meaning: 'The event transport does not answer; events wait in the outbox and none is lost.',
    hint: 'Check that Redis runs and that REDIS_URL is right.',
    exitCode: 4,
  },
  QUEUE_FULL: {
    kind: 'retryable',
    meaning: 'More work waits in this process than it accepts.',
    hint: 'Submit more slowly, or add workers.',
  },

  // How a step or a run fails
  STEP_TIMEOUT: {
    kind: 'retryable',
    meaning: 'A step took longer than its timeout.',
    hint: 'Make the step smaller, or raise its timeout or STEP_TIMEOUT_SECONDS.',
  },
  WAIT_TIMED_OUT: {
    kind: 'terminal',
    meaning: 'A step waited for a signal, and none that fits came in time.',
    hint: 'Send the signal earlier, or give the wait a longer timeout; the agent can catch the error and go on without.',
  },
  AGENT_FAILED: {
    kind: 'terminal',
    meaning: "The agent threw an error of its own; it is the run's reason.",
    hint: 'See the message, and with `concordat runs get` the step in which it happened; correct the agent or its input.',
  },
  STEP_UNKNOWN: {
    kind: 'terminal',
    meaning: 'A step with side effects had started when its worker died; whether it acted is not known.',
    hint: 'Check the effect by hand and submit again; mark the step `sideEffects: false` if it may be repeated.',
  },
  RUN_TIMEOUT: {
    kind: 'terminal',
    meaning: 'The run reached its deadline.',
    hint: "Make the run shorter, or raise the agent's timeoutSeconds, or RUN_TIMEOUT_SECONDS where it has none.",
  },
  RUN_STALE: {
    kind: 'terminal',
    meaning: 'The run was past its deadline, and no living worker had it.',
    hint: 'See that workers are alive with `concordat doctor`, then submit it again.',
  },
  RUN_DIVERGED: {
    kind: 'terminal',
    meaning: 'A resumed agent did not repeat the steps that it had recorded.',
    hint: 'Keep the code between steps deterministic, and register changed code under a new version.',
  },
  RUN_STOPPED: {
    kind: 'terminal',
    meaning: 'The run was stopped by a person.',
    hint: 'Submit it again if it should run after all.',
  },
  WORKER_LOST: {
    kind: 'terminal',
    meaning: 'Too many workers were lost while they executed the run.',
    hint: 'Look for a step that crashes its process or exhausts its memory.',
  },
  LEASE_LOST: {
    kind: 'terminal',
    meaning: 'This worker lost its lease on the run and may not write to it any more; another worker goes on.',
    hint: 'Nothing to do if it is rare; otherwise raise LEASE_SECONDS or look for a stalled machine.',
  },
  HANDLER_TIMEOUT: {
    kind: 'retryable',
    meaning: 'An event handler has not ended within 30 s; the event is delivered to it again.',
    hint: 'Look for what the handler waits for; let it start long work elsewhere and return.',
  },
  MODEL_FAILED: {
    kind: 'retryable',
    meaning: 'A call to a language model failed.',
    hint: "See the cause; check the provider's status, key and limits.",
  },
  HTTP_FAILED: {
    kind: 'retryable',
    meaning: 'An HTTP call failed, or its answer was refused.',
    hint: 'See the message for status and address.',
  },
  HTTP_BLOCKED_ADDRESS: {
    kind: 'terminal',
    meaning: 'An HTTP call was refused because its host resolves to a private, loopback or link-local address.',
    hint: 'Allow the host explicitly if the call is meant.',
  },

  // What governance decides
  AUTHORIZATION_DENIED: {
    kind: 'terminal',
    meaning: 'The `authorize` hook refused the run; its record is kept.',
    hint: 'See the reason in the message.',
  },
  AGENT_NOT_ALLOWED: {
    kind: 'terminal',
    meaning: "The agent is not on the tenant's list of allowed agents; the run's record is kept.",
    hint: "Add the agent to the tenant's list, or use one that is on it.",
  },
  TENANT_SUSPENDED: {
    kind: 'terminal',
    meaning: "The tenant is suspended; the run's record is kept.",
    hint: 'Resume the tenant, then submit again.',
  },
  POLICY_VIOLATION: {
    kind: 'terminal',
    meaning: 'The run broke a policy.',
    hint: "See the violations in the run's policy evaluation.",
  },
  PAUSE_TIMEOUT: {
    kind: 'terminal',
    meaning: 'The run was paused, and nobody resumed it within PAUSE_SLA_SECONDS.',
    hint: 'Submit it again, and resume it in time; or change PAUSE_SLA_SECONDS or PAUSE_TIMEOUT_BEHAVIOR.',
  },
  BUDGET_EXCEEDED: {
    kind: 'terminal',
    meaning: 'A policy let the run go no further: its next step would have broken a limit or met a condition.',
    hint: "See the violations in the run's policy evaluation; `concordat policies get` has the policy's versions.",
  },
  APPROVAL_REJECTED: {
    kind: 'terminal',
    meaning: 'Somebody who was asked to approve a step rejected it, and it did not run.',
    hint: 'See with `concordat approvals get` who rejected it and why; the agent can catch the error and go on without.',
  },
  APPROVAL_EXPIRED: {
    kind: 'terminal',
    meaning: 'A step asked for an approval, and had none that holds when its time was over.',
    hint: 'Decide sooner, or give the approval a longer timeout.',
  },
  OBSERVABILITY: {
    kind: 'terminal',
    meaning: 'The trace could not be written, and OBSERVABILITY_MODE is STRICT.',
    hint: 'Repair what keeps the trace from being written, or use OBSERVABILITY_MODE=DEGRADED.',
  },

  // How a run ends
  PHASE_TRANSITION: {
    kind: 'terminal',
    meaning: 'The requested change of phase is not allowed from the phase that the run is in.',
    hint: 'Read the run again; it has moved on.',
  },
  CONTRACT_UNMET: {
    kind: 'terminal',
    meaning:
      'The governance check found a declared audit action that is neither done nor decided, so the run may not finalise.',
    hint: 'See the named actions with `concordat audit get`.',
  },
  TRANSACTION_FAILED: {
    kind: 'retryable',
    meaning: 'The completion transaction failed and was rolled back; the run stays FINALIZING and is tried again.',
    hint: 'See the phase and the cause; `concordat runs finalize` tries at once.',
  },
  PARTICIPANT_FAILED: {
    kind: 'retryable',
    meaning: 'A registered participant of the completion transaction failed or took too long.',
    hint: 'Repair the participant; the run finalises on the next try.',
  },

  INTERNAL: {
    kind: 'terminal',
    meaning: 'An error that Concordat does not know, or a broken assumption of its own.',
    hint: 'See the cause; if it points into Concordat, please report it.',
  },
} as const satisfies Record<string, ErrorCodeEntry>)

export type ErrorCode = keyof typeof errorCodes
