export { Authority, authoritiesOf, mayResume, PauseReason, whyRefused } from './pause-rules.ts'
export { dueAction, nextMoment, type PauseAction, type PauseSla, scheduleOf } from './pause-schedule.ts'
export {
  endPauses,
  endPausesOfChildren,
  insertPause,
  markPauses,
  type NewPause,
  openPauses,
  type Pause,
  pausesOfRun,
  type ResumeRefusal,
  recordRefusals,
} from './pause-store.ts'
