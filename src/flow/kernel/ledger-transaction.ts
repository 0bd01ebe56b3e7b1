import {
  type Charge,
  type ChargeReply,
  type Crossing,
  decideCharges,
  type LedgerState,
  lockLedger,
  openLedger,
  releaseReservations,
  shownAmount,
  writeLedger,
} from '../../domains/budgets/budgets.ts'
import { AppError } from '../../foundation/app-error.ts'
import { appendEvents, type RunEvent } from '../../foundation/events/events.ts'
import type { IdSource } from '../../foundation/ids.ts'
import {
  type Database,
  isUniqueViolation,
  lastFlight,
  rowSet,
  statement,
  type Tx,
} from '../../foundation/storage/storage.ts'
import type { Lease, RecordStep } from './messages.ts'
import { recordSteps } from './step-store.ts'
import { aliveSql } from './worker-store.ts'

export interface LedgerContext {
  readonly database: Database
  readonly newId: IdSource
  readonly now: () => Date
}

/** `lost`: the lease is, and nothing was written. `reply` null: the step had no charge. */
export type Recorded = { readonly kind: 'lost' } | { readonly kind: 'recorded'; readonly reply: ChargeReply | null }

/** A charge without a step that is recorded. */
export interface ChargeRequest {
  readonly charge: Charge
  /** Null: the run may have ended meanwhile, as when a known use corrects an estimated one. */
  readonly lease: Lease | null
  /** True for the first one of a run that others have executed before: what they left reserved is given back. */
  readonly takesOver: boolean
}

const LOST = Object.freeze({ kind: 'lost' })
const RECORDED = Object.freeze({ kind: 'recorded', reply: null })

/** What a batch of steps, or of charges, came to; how to tell whether it was committed when only the reply is lost. */
interface Tried<Result> {
  readonly xid: string
  readonly results: readonly Result[]
}

/**
 * Records steps, and in the same commit settles what they used and reserves what comes next: one update for each row of
 * the ledger, however many steps share it. Steps without a charge cost what they always did.
 */
export class LedgerTransactions {
  readonly #context: LedgerContext
  /** By batch, which stays the same object while its flush is tried again. */
  readonly #tried = new WeakMap<readonly object[], Tried<Recorded>>()

  constructor(context: LedgerContext) {
    this.#context = context
  }

  async record(records: readonly RecordStep[]): Promise<readonly Recorded[]> {
    const { database } = this.#context
    if (records.every(({ charge }) => charge === undefined)) {
      return (await recordSteps(database, records)).map((recorded) => (recorded ? RECORDED : LOST))
    }
    try {
      return await this.#once(records, (tx) => this.#recordAndCharge(tx, records))
    } catch (error) {
      if (!isUniqueViolation(error)) throw error
      const stored = records.map((record) => ({ ...record, stored: true }))
      return this.#once(stored, (tx) => this.#recordAndCharge(tx, stored))
    }
  }

  async charge(requests: readonly ChargeRequest[]): Promise<readonly Recorded[]> {
    // In a transaction of its own: what it locks comes in no order with what the charges lock.
    const takenOver = requests.flatMap(({ takesOver, lease }) => (takesOver && lease ? lease : []))
    if (takenOver.length > 0 && !this.#tried.has(requests)) await this.#takeOver(takenOver)
    return this.#once(requests, (tx) => this.#charge(tx, requests))
  }

  /** A flush whose reply was lost is not done twice: use would be settled twice. Its transaction's id tells. */
  async #once(
    batch: readonly object[],
    work: (tx: Tx) => Promise<{ decided: Tried<Recorded>; writing: Promise<unknown> }>,
  ): Promise<readonly Recorded[]> {
    const { database } = this.#context
    const before = this.#tried.get(batch)
    if (before && (await wasCommitted(database, before.xid))) return before.results
    return database.transaction(async (tx) => {
      const { decided, writing } = await work(tx)
      this.#tried.set(batch, decided)
      return lastFlight(writing.then(() => decided.results))
    })
  }

  async #recordAndCharge(tx: Tx, records: readonly RecordStep[]) {
    const charges = records.flatMap(({ charge }) => charge ?? [])
    const opening = openLedger(tx, charges)
    const recording = recordSteps(tx, records, 'transaction')
    const [used, recorded, ledger] = await Promise.all([opening, recording, lockLedger(tx, charges)])
    const applied = records.map(({ charge }, i) => (recorded[i] ? (charge ?? null) : null))
    const { replies, writing } = this.#write(tx, applied, { ...ledger, used })
    const results = records.map((_, i): Recorded => {
      return recorded[i] ? { kind: 'recorded', reply: replies[i] ?? null } : LOST
    })
    return { decided: { xid: ledger.xid ?? '', results }, writing }
  }

  /** Only under a lease that holds: this worker may have lost the run to one that has reserved for it since. */
  #takeOver(leases: readonly Lease[]): Promise<void> {
    return this.#context.database.transaction(async (tx) => {
      const held = await holdLeases(tx, leases)
      return lastFlight(
        releaseReservations(
          tx,
          leases.filter(({ runId }) => held.has(runId)),
          'not executed',
        ),
      )
    })
  }

  async #charge(tx: Tx, requests: readonly ChargeRequest[]) {
    const charges = requests.map(({ charge }) => charge)
    const leases = requests.flatMap(({ lease }) => lease ?? [])
    const opening = openLedger(tx, charges)
    const [used, held, ledger] = await Promise.all([opening, holdLeases(tx, leases), lockLedger(tx, charges)])
    const holds = ({ lease }: ChargeRequest) => lease === null || held.has(lease.runId)
    const { replies, writing } = this.#write(
      tx,
      requests.map((request) => (holds(request) ? request.charge : null)),
      { ...ledger, used },
    )
    const results = requests.map((request, i): Recorded => {
      return holds(request) ? { kind: 'recorded', reply: replies[i] ?? null } : LOST
    })
    return { decided: { xid: ledger.xid ?? '', results }, writing }
  }

  /** Null: a charge that does not apply. */
  #write(tx: Tx, charges: readonly (Charge | null)[], ledger: LedgerState) {
    const applied = charges.filter((charge) => charge !== null)
    const decided = decideCharges(applied, ledger)
    const replies = new Map(applied.map((charge, i) => [charge, decided.replies[i] ?? null]))
    const writing = Promise.all([writeLedger(tx, decided), appendEvents(tx, this.#entries(decided.crossings))])
    return { replies: charges.map((charge) => (charge && replies.get(charge)) ?? null), writing }
  }

  #entries(crossings: readonly Crossing[]) {
    return [...Map.groupBy(crossings, ({ runId }) => runId)].map(([runId, ofRun]) => ({
      tenantId: ofRun[0]?.tenantId ?? '',
      runId,
      events: ofRun.map((crossing) => this.#event(crossing)),
    }))
  }

  #event({ limit, meter, threshold, used }: Crossing): RunEvent {
    const { newId, now } = this.#context
    const { metric, subject, period, periodStart } = meter
    const { name: policy, scope, max } = limit
    const since = period === 'run' ? null : periodStart.toISOString()
    const data = {
      policy,
      metric,
      scope,
      subject,
      window: period,
      since,
      threshold,
      used: shownAmount(metric, used),
      limit: max,
    }
    return { id: newId(), type: 'threshold.exceeded', time: now().toISOString(), data }
  }
}

const LEASES = rowSet<Lease>({
  tenant_id: ['text', ({ tenantId }) => tenantId],
  run_id: ['uuid', ({ runId }) => runId],
  lease_token: ['int', ({ leaseToken }) => leaseToken],
})

const HOLD_LEASES = statement(
  'budgets_hold_leases',
  `with ${aliveSql('any($1::uuid[])')}
   select x.run_id from ${LEASES.from(2)} as x
    cross join lateral (
      select r.worker_id from concordat.runs r
       where r.tenant_id = x.tenant_id and r.run_id = x.run_id and r.lease_token = x.lease_token limit 1) r
     join alive on alive.worker_id = r.worker_id`,
)

/** The runs whose leases hold, until the transaction ends: their workers can't be removed before. */
async function holdLeases(tx: Tx, leases: readonly Lease[]): Promise<ReadonlySet<string>> {
  if (leases.length === 0) return new Set()
  const workers = new Set(leases.map(({ workerId }) => workerId))
  const rows = await tx.query<{ run_id: string }>(HOLD_LEASES, [[...workers], ...LEASES.values(leases)])
  return new Set(rows.map(({ run_id }) => run_id))
}

/** Fails, to be asked again, while the server has not made out yet what became of it. */
async function wasCommitted(database: Database, xid: string): Promise<boolean> {
  if (xid === '') return false
  const [row] = await database.query<{ status: string | null }>('select pg_xact_status($1::xid8) as status', [xid])
  if (row?.status !== 'in progress') return row?.status === 'committed'
  throw new AppError('DATABASE_UNREACHABLE', `transaction ${xid}, whose reply was lost, has not ended yet`)
}
