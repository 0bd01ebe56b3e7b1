/**
 * Every bound of the product, its unit in its name. A number without a reason beside it is a round one that nobody
 * depends on; one with a reason should be changed only together with it.
 */
export const limits = Object.freeze({
  // Payloads and texts
  jsonDepthMax: 2_000, // twice the nesting that is promised; JSON.stringify recurses and overflows at some 5,000
  runInputBytesMax: 8_388_608,
  stepOutputBytesMax: 4_194_304, // the promised 2 MB, doubled by escapes
  metadataBytesMax: 65_536,
  stepNameCharsMax: 200,
  personNameCharsMax: 1_000,
  idempotencyKeyCharsMax: 255,
  apiKeyIdCharsMax: 200,
  errorMessageCharsMax: 8_192,
  noteCharsMax: 1_000, // what people say with a stop, a pause, a resume
  errorStackCharsMax: 8_192,
  resumeBatchMax: 500, // paused runs that one transaction resumes
  logDepthMax: 8,
  expectationDeadlineMsMax: 3_155_760_000_000, // a century; what is much later is no date
  usdMax: 1_000_000_000, // as nano-dollars 10^18, which still fits a PostgreSQL bigint

  // Policies
  policyFileBytesMax: 131_072,
  policyFileDepthMax: 32, // the parser recurses: some thousand levels would end the process
  policiesPerTenantMax: 200, // each is held against every run of its tenant
  policyDescriptionCharsMax: 500,
  policyExpressionCharsMax: 2_000,
  policyExpressionNodesMax: 250,
  policyExpressionDepthMax: 24,
  policyExpressionListMax: 50, // two nested macros over such lists are 2,500 rounds
  policyMacroDepthMax: 2,
  policyPatternCharsMax: 200,
  policyPatternProgramMax: 1_000, // instructions of a compiled pattern; each may be looked at once a character
  policyPatternWorkMax: 1_000_000, // characters times instructions of one evaluation: some 10 ms
  policyExpressionCacheMax: 1_000,
  policyFindingsMax: 50, // of one file: who gets more corrects the first ones first
  simulationRunsMax: 100_000,
  simulationPageMax: 500,

  // Waits and signals
  waitTimeoutMsDefault: 86_400_000, // a wait without an end is a run that nobody finds again
  waitTimeoutMsMax: 31_536_000_000, // a year, as the skill `wait` has it
  signalBytesMax: 1_048_576,
  signalSchemaCharsMax: 65_536,
  signalSchemasMax: 1_000, // compiled ones that a process remembers
  signalsKeptMax: 1_000, // of a run, for steps that don't wait yet
  signalsPerRunMax: 10_000, // as many as it has steps

  // Budgets
  outputTokensAssumed: 4_096, // of a model call that sets no maxOutputTokens
  budgetRetryMs: 500, // until a step asks again that found no room but for what others have reserved
  lateUsageMs: 30_000, // how long the use of an aborted step takes the place of its estimate
  budgetMinutesKeptMs: 86_400_000,
  budgetHoursKeptMs: 2_678_400_000, // 31 days; days, months and runs are kept
  ledgerPruneMax: 5_000,

  // Plans and runs
  planStepsMax: 512,
  stepsPerRunMax: 10_000,
  childDepthMax: 8,
  childrenPerRunMax: 1_000,
  childLookMs: 300_000, // an end wakes its parent; this is how late a lost wake-up would be noticed
  workerLossesMax: 5, // the sixth lost worker is the run's own doing
  partitions: 16, // one hex digit of the run id; a change of it needs a migration of stored partitions

  // Leases and clocks
  leaseMsMin: 1_000,
  heartbeatMs: 3_000, // three heartbeats may be missed in the default lease of 10 s
  heartbeatsPerLease: 3,
  transactionIdleMs: 10_000, // as the default lease: so long others go without what a process that stands still has locked
  stopGraceMs: 5_000,
  clockSkewWarnMs: 500,
  clockRoundTripMsMax: 1_000, // half of a round trip is a correction's error; slower ones tell nothing
  timerMsMax: 2_147_483_647, // Node fires a longer timer at once

  // Batches of the group commits
  submitBatchMax: 256,
  claimBatchMax: 256,
  stepBatchMax: 512,
  completionBatchMax: 128,
  checkBatchMax: 256,
  relayBatchMax: 500,
  /** Tenants whose policies a process remembers. */
  policyTenantsMax: 10_000,

  groupQueueMax: 50_000, // what may wait for a group commit before more is refused
  sweepBatchMax: 500,
  stopBatchMax: 2_000, // those of one batch hear it at once; what ends meanwhile slows the next one
  stopOrderSweepMs: 5_000, // who has not gone on with a stop order for so long has died
  stopOrderHeadStartMs: 50, // workers hear of it in 5 to 20 ms; marking a thousand runs takes the machine from them
  stopOrderPatienceMs: 10_000, // a worker that stands still in the middle of a start; then it is swept
  stopOrderToleranceMs: 500, // between the clocks of who submits runs and who stops them
  orderPushBytesMax: 7_900, // PostgreSQL notifies with less than 8,000
  startsPassMs: 100, // a claim takes some ms; while it is waited for, others wait too
  stopWaitMsMax: 600_000,
  reconcileBatchMax: 500,
  ackNameCharsMax: 200, // of what is read of an ack's domain and action: alerts are found by them

  // Reactor
  handlersMax: 200,
  handlerNameCharsMax: 200,
  eventHandlerTimeoutMs: 30_000,
  eventAttemptsMax: 5,
  eventBackoffMsBase: 200,
  eventBackoffMsCap: 30_000,
  eventTransactionMax: 100, // events that a transactional handler gets in one transaction
  heldEventsMax: 1_000, // of one handler and partition, set aside because of failures; no further event is taken then
  reactorWindowEventsMax: 5_000, // of one partition in memory; some MB at the usual size
  deadMessageCharsMax: 4_096,
  deadLetterPruneMax: 5_000,
  malformedWaitingCharsMax: 67_108_864, // of messages that wait to be stored, with why; those beyond are only counted
  malformedBatchMax: 1_000, // that are stored at once

  // Takeovers
  takeoverMs: 30_000, // how long whoever takes a pending end has, before maintenance tries it again

  // Pauses
  pauseDetailCharsMax: 65_536,
  pauseRefusalsMax: 20, // the latest refused attempts to resume that a pause's row keeps

  // Retries
  stepAttemptsMax: 3,
  stepBackoffMsBase: 200,
  stepBackoffMsCap: 60_000,
  completionAttemptsMax: 3,
  finalizeBackoffMsBase: 500,
  finalizeBackoffMsCap: 300_000,
  tickerErrorPauseMs: 1_000, // a failing loop that is nudged all the time must not spin

  // Circuit breaker
  breakerFailures: 5,
  breakerOpenMs: 30_000,

  // Calls to the outside
  httpCallResponseBytesMax: 1_048_576,
  httpCallTimeoutMs: 30_000,
  participantTimeoutMs: 5_000,
  participantIntentMs: 60_000, // an intent that is not settled by then belongs to a completion that died

  // Deliveries
  deliveryTimeoutMs: 10_000,
  deliveryClaimMs: 30_000, // who has not settled a delivery by then has died: three times what one may take
  deliverySweepMs: 500,
  deliveriesUnderWayMax: 64,
  deliveriesPerTargetMax: 8, // so that a target that hangs leaves room for others
  deliveryBackoffMsBase: 5_000,
  deliveryBackoffMsCap: 3_600_000,
  deliveryAgeMsMax: 259_200_000, // three days of tries
  deliveryPruneMax: 5_000,
  subscriptionsPerTenantMax: 100,
  subscriptionTypesMax: 50,
  subscriptionUrlCharsMax: 2_048,
  subscriptionsKnownMs: 1_000, // how old what a process knows of the subscriptions may be
  secretOverlapMs: 86_400_000,
  sinksMax: 20,
  alertGroupMs: 1_000, // a notification waits for others that it can tell of
  alertGroupMoreMs: 3_000, // and so long for more after each that has come
  silencesEndedMax: 100, // that one transaction tells of, as it holds what fatigue control remembers
  alertGroupMsMax: 65_000, // a flood of a minute is one notification, also of what is found with some delay

  // Audit contract
  expectationDeadlineMs: 5_000,
  finalizeGraceMs: 5_000,
  reconcileCompletedMs: 2_000, // after the end of a run, so that what comes late is there
  reconcileFailedMs: 5_000,
  reconcileSweepMs: 500,
  lookAgainMsMin: 30_000, // at a run with an open alert: what was wrong may have been put right where no trigger saw it
  lookAgainMsMax: 300_000,
  reconcileRetryMsMin: 5_000,
  reconcileRetryMsMax: 300_000,
  staleLookMs: 15_000, // how often an overdue run is looked at whose worker is alive: a lease and a half
})
