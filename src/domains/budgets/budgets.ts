export { type BrokenLimit, type Charge, type ChargeLine, type ChargeReply, unrecorded } from './charge.ts'
export { type Crossing, type DecidedCharges, decideCharges } from './decide-charges.ts'
export { type LockedLedger, lockLedger, openLedger, releaseReservations, writeLedger } from './ledger-store.ts'
export {
  amountOf,
  type BoundMeter,
  type BudgetedRun,
  type BudgetLimit,
  isMeterMetric,
  isMeterOfRun,
  type Meter,
  type MeterMetric,
  meterKey,
  metersOf,
  periodEnd,
  shownAmount,
} from './meter.ts'
