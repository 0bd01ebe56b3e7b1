export { type BrokenLimit, type Charge, type ChargeLine, type ChargeReply, unrecorded } from './charge.ts'
export { brokenByNeed, type Crossing, decideCharges, type LedgerState } from './decide-charges.ts'
export { lockLedger, openLedger, releaseReservations, writeLedger } from './ledger-store.ts'
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
export { ledgerOfRun, pruneLedger, type RunLedgerUse, usageOf } from './usage-store.ts'
