export { endNow, type Stopped, type StoppingContext, type StopResult, stopRun, stopScope } from './stop-runs.ts'
export { resumeTenant, suspendTenant, sweepSuspended } from './suspension.ts'
export { type StopCounts, untilStopped } from './until-stopped.ts'
