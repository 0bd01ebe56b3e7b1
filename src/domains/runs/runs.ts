export { countEndedRuns, type EndedRunUse, endedRuns } from './ended-runs.ts'
export {
  isTerminal,
  NEXT_PHASES,
  PhaseTransitionError,
  type RunOutcome,
  RunPhase,
  type RunStatus,
  type Transition,
  transition,
  transitionLines,
  type Waiting,
  walk,
  walkToEnd,
} from './phases.ts'
export {
  type PendingEnd,
  pendingEnd,
  type RunEnd,
  type RunKey,
  type RunStop,
  type RunTotals,
  type StopKind,
} from './run.ts'
export {
  type ChildRun,
  type ContractRow,
  childrenOf,
  contractsOf,
  type EndedStatus,
  endedAfter,
  endedAmong,
  findRun,
  listRuns,
  type RunFilter,
  type RunRow,
  type RunSummary,
  type StopCounts,
  stopCounts,
} from './run-queries.ts'
export {
  COUNTED_STEPS,
  checkpointsOfRun,
  isUncosted,
  type StepRecord,
  type StepWithTrace,
  stepsOfRun,
} from './step-queries.ts'
