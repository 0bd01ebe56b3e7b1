export {
  endNow,
  type Stopped,
  type StoppingContext,
  type StopResult,
  stopRun,
  stopScope,
  sweepStopOrders,
} from './stop-runs.ts'
export { resumeTenant, suspendTenant, sweepSuspended } from './suspension.ts'
export { untilStopped } from './until-stopped.ts'
