import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import type { Charge, ChargeLine } from './charge.ts'
import { type DecidedCharges, type HeldAmount, heldKey, type LedgerRow, type LedgerState } from './decide-charges.ts'
import { type Meter, meterKey } from './meter.ts'

const METER_COLUMNS = {
  tenant_id: ['text', (meter: Meter) => meter.tenantId],
  subject: ['text', (meter: Meter) => meter.subject],
  metric: ['text', (meter: Meter) => meter.metric],
  period: ['text', (meter: Meter) => meter.period],
  period_start: ['timestamptz', (meter: Meter) => meter.periodStart],
} as const

const METERS = rowSet<Meter>(METER_COLUMNS)
const SAME_METER = (a: string, b: string) =>
  ['tenant_id', 'subject', 'metric', 'period', 'period_start']
    .map((column) => `${a}.${column} = ${b}.${column}`)
    .join(' and ')

/** What steps `s` have used of the metric of `x`, and which count: what is nothing but a wait does once it has begun. */
const USED = `coalesce(case x.metric
                     when 'cost_usd' then sum(s.cost_nano_usd)
                     when 'tokens' then sum(coalesce(s.tokens_in, 0) + coalesce(s.tokens_out, 0))
                     when 'steps' then count(*)
                     when 'tool_calls' then count(*) filter (where s.kind = 'tool')
                     when 'requests_per_minute' then count(*) filter (where s.kind in ('llm', 'tool')) end, 0)::bigint`
const COUNTS = `(s.status in ('succeeded', 'failed')
                or s.status = 'waiting' and s.attempt > 0 and s.kind in ('sleep', 'signal', 'run') and x.metric = 'steps')`

/*
 * A run's meter begins with what the run and those that it has started have used already: a limit may have come into
 * force while they ran. The others begin with nothing; each run that counts in them brings what it has used in the period.
 * `offset 0` keeps the look-ups by index: joined, they became hashes of all runs and steps, and opening a run's meters
 * took as long as there were runs.
 */
const OPEN = statement(
  'budgets_open',
  `insert into concordat.budgets (${METERS.names}, settled)
   select x.*, case when x.period <> 'run' then 0 else (
            with recursive family as (
              select substr(x.subject, 5)::uuid as run_id
              union all
              select c.run_id from family f cross join lateral (
                select run_id from concordat.runs r where r.tenant_id = x.tenant_id and r.parent_run_id = f.run_id offset 0) c
            )
            select ${USED}
              from family f cross join lateral (
                select * from concordat.steps t where t.tenant_id = x.tenant_id and t.run_id = f.run_id offset 0) s
             where ${COUNTS}) end
     from ${METERS.from(1)} as x
   on conflict do nothing`,
)

/**
 * Makes the rows of the ledger that are not there yet, and returns what runs have used that join them, by `heldKey`. Goes
 * before the writes of steps that it would count too.
 */
export async function openLedger(tx: Tx, charges: readonly Charge[]): Promise<ReadonlyMap<string, bigint>> {
  const meters = metersInLockOrder(charges.filter(({ opens }) => opens))
  const joining = heldOf(charges, ({ recounts, meter }) => recounts && meter.period !== 'run')
  const [, used] = await Promise.all([
    meters.length > 0 ? tx.query(OPEN, METERS.values(meters)) : [],
    joining.held.length > 0 ? tx.query<{ place: number; used: bigint }>(USED_BEFORE, joining.values) : [],
  ])
  return new Map(used.map(({ place, used: amount }) => [keyOf(joining.held[place]!), amount]))
}

const LOCK_ROWS = statement(
  'budgets_lock',
  `select b.*, pg_current_xact_id()::text as xid, t.policies_version
     from ${METERS.from(1)} as x
    cross join lateral (
      select * from concordat.budgets b where ${SAME_METER('b', 'x')} limit 1 for no key update) b
     left join lateral (
      select policies_version from concordat.tenants t where t.tenant_id = x.tenant_id limit 1) t on true`,
)

/** What a run holds of one row of the ledger. */
interface Held {
  /** Among those that are asked for together; it comes back with the answer. */
  readonly place: number
  readonly charge: Charge
  readonly line: ChargeLine
  /** Which of the meters that are sent along, from 1: many runs count in few rows. */
  readonly which: number
}

const HELD = rowSet<Held>({
  place: ['int', ({ place }) => place],
  run_id: ['uuid', ({ charge }) => charge.runId],
  which: ['int', ({ which }) => which],
})

/** `x` is one of `HELD`, with its meter taken from the arrays behind it. */
const HELD_ROWS = `(
      select x.*, ($4::text[])[x.which] as tenant_id, ($5::text[])[x.which] as subject, ($6::text[])[x.which] as metric,
             ($7::text[])[x.which] as period, ($8::timestamptz[])[x.which] as period_start
        from ${HELD.from(1)} as x)`

/** Of runs that don't count in the row yet. A step counts in the period in which it has begun. */
const USED_BEFORE = statement(
  'budgets_used_before',
  `select x.place, u.used
     from ${HELD_ROWS} as x
    cross join lateral (
      select ${USED} as used
        from (select * from concordat.steps t where t.tenant_id = x.tenant_id and t.run_id = x.run_id offset 0) s
       where s.started_at >= x.period_start and ${COUNTS}) u
     left join lateral (
       select true as counts from concordat.reservations h where h.run_id = x.run_id and ${SAME_METER('h', 'x')} limit 1) h on true
    where h.counts is null`,
)

/** Goes after the lock on the rows of the ledger: whoever changes what a run holds of one has locked it. */
const READ_HELD = statement(
  'reservations_read',
  `select x.place, h.holder, h.amount, h.approved
     from ${HELD_ROWS} as x
    cross join lateral (
      select holder, amount, approved from concordat.reservations h
       where h.run_id = x.run_id and ${SAME_METER('h', 'x')} limit 1) h`,
)

interface MeterRow {
  readonly tenant_id: string
  readonly subject: string
  readonly metric: Meter['metric']
  readonly period: Meter['period']
  readonly period_start: Date
}

interface BudgetRow extends MeterRow, Omit<LedgerRow, 'meter'> {
  readonly xid: string
  readonly policies_version: bigint | null
}

interface HeldRow {
  readonly place: number
  readonly holder: string | null
  readonly amount: bigint
  readonly approved: bigint
}

export interface LockedLedger extends Omit<LedgerState, 'used'> {
  /** Of this transaction: whether it was committed can be asked by it. */
  readonly xid: string | null
}

/** Locks the rows of the ledger, and reads what the charges are decided on: these, and what their runs hold of them. */
export async function lockLedger(tx: Tx, charges: readonly Charge[]): Promise<LockedLedger> {
  const asked = heldOf(charges)
  const [rows, held] = await Promise.all([
    tx.query<BudgetRow>(LOCK_ROWS, METERS.values(metersInLockOrder(charges))),
    tx.query<HeldRow>(READ_HELD, asked.values),
  ])
  return {
    xid: rows[0]?.xid ?? null,
    held: new Map(
      held.map(({ place, ...amounts }) => {
        const each = asked.held[place]!
        const { tenantId, runId } = each.charge
        return [keyOf(each), { tenantId, runId, meter: each.line.meter, ...amounts }]
      }),
    ),
    rows: new Map(rows.map((row) => [meterKey(meterOf(row)), toLedgerRow(row)])),
    policiesVersions: new Map(rows.map((row) => [row.tenant_id, Number(row.policies_version)])),
  }
}

function metersInLockOrder(charges: readonly Charge[]): Meter[] {
  const meters = new Map<string, Meter>()
  for (const { lines } of charges) for (const { meter, key } of lines) meters.set(key, meter)
  return [...meters].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, meter]) => meter)
}

/** What the runs hold of lines; the same asked for twice is answered twice. */
function heldOf(charges: readonly Charge[], of: (line: ChargeLine) => boolean = () => true) {
  const held: Held[] = []
  const meters = new Map<string, { readonly meter: Meter; readonly which: number }>()
  for (const charge of charges) {
    for (const line of charge.lines) {
      if (!of(line)) continue
      const known = meters.get(line.key) ?? { meter: line.meter, which: meters.size + 1 }
      meters.set(line.key, known)
      held.push({ place: held.length, charge, line, which: known.which })
    }
  }
  return { held, values: [...HELD.values(held), ...METERS.values([...meters.values()].map(({ meter }) => meter))] }
}

function keyOf({ charge, line }: Held): string {
  return heldKey(charge.runId, line.key)
}

const ROWS = rowSet<LedgerRow>({
  ...metersColumns<LedgerRow>(({ meter }) => meter),
  settled: ['bigint', (row) => row.settled],
  reserved: ['bigint', (row) => row.reserved],
  overrun: ['bigint', (row) => row.overrun],
  estimated: ['bigint', (row) => row.estimated],
  unrecorded: ['bigint', (row) => row.unrecorded],
  uncosted: ['int', (row) => row.uncosted],
  told: ['jsonb', (row) => JSON.stringify(row.told)],
})

/** As they are: the rows are locked, and what is written was decided on what was read under that lock. */
const WRITE_ROWS = statement(
  'budgets_write',
  `update concordat.budgets b
      set settled = x.settled, reserved = x.reserved, overrun = x.overrun, estimated = x.estimated,
          unrecorded = x.unrecorded, uncosted = x.uncosted, told = x.told
     from ${ROWS.from(1)} as x
    cross join lateral (select a.ctid as address from concordat.budgets a where ${SAME_METER('a', 'x')} limit 1) a
    where b.ctid = a.address`,
)

const AMOUNTS = rowSet<HeldAmount>({
  run_id: ['uuid', ({ runId }) => runId],
  ...metersColumns<HeldAmount>(({ meter }) => meter),
  holder: ['uuid', ({ holder }) => holder],
  amount: ['bigint', ({ amount }) => amount],
  approved: ['bigint', ({ approved }) => approved],
})

const WRITE_HELD = statement(
  'reservations_write',
  `insert into concordat.reservations (${AMOUNTS.names}) select * from ${AMOUNTS.from(1)} as x
   on conflict (tenant_id, run_id, subject, metric, period, period_start)
   do update set amount = excluded.amount, approved = excluded.approved, holder = excluded.holder, reserved_at = clock_timestamp()`,
)

/** Writes what was decided on the ledger as it was locked. */
export async function writeLedger(tx: Tx, { rows, held }: Pick<DecidedCharges, 'rows' | 'held'>): Promise<void> {
  await Promise.all([
    held.length > 0 ? tx.query(WRITE_HELD, AMOUNTS.values(held)) : undefined,
    rows.length > 0 ? tx.query(WRITE_ROWS, ROWS.values(rows)) : undefined,
  ])
}

function metersColumns<Row>(meterOfRow: (row: Row) => Meter) {
  return {
    tenant_id: ['text', (row: Row) => meterOfRow(row).tenantId],
    subject: ['text', (row: Row) => meterOfRow(row).subject],
    metric: ['text', (row: Row) => meterOfRow(row).metric],
    period: ['text', (row: Row) => meterOfRow(row).period],
    period_start: ['timestamptz', (row: Row) => meterOfRow(row).periodStart],
  } as const
}

function meterOf({ tenant_id: tenantId, subject, metric, period, period_start }: MeterRow): Meter {
  return { tenantId, subject, metric, period, periodStart: period_start }
}

function toLedgerRow(row: BudgetRow): LedgerRow {
  const { settled, reserved, overrun, estimated, unrecorded, uncosted, told } = row
  return { meter: meterOf(row), settled, reserved, overrun, estimated, unrecorded, uncosted, told }
}

interface RunOfLedger {
  readonly tenantId: string
  readonly runId: string
}

const RUNS = rowSet<RunOfLedger>({
  tenant_id: ['text', ({ tenantId }) => tenantId],
  run_id: ['uuid', ({ runId }) => runId],
})

/** In the order in which charges lock them. Nobody else charges for these runs any more. */
const LOCK_RELEASED = statement(
  'reservations_lock_released',
  `select from (
       select distinct h.tenant_id, h.subject, h.metric, h.period, h.period_start from ${RUNS.from(1)} as x
        cross join lateral (
          select * from concordat.reservations a
           where a.tenant_id = x.tenant_id and a.run_id = x.run_id offset 0) h
        order by h.tenant_id, h.subject, h.metric, h.period, h.period_start) h
    cross join lateral (
      select from concordat.budgets b where ${SAME_METER('b', 'h')} limit 1 for no key update) b`,
)

const release = (name: string, giveBack: string) =>
  statement(
    name,
    `with held as (
     select a.* from ${RUNS.from(1)} as x
      cross join lateral (
        select a.ctid as address, a.* from concordat.reservations a
         where a.tenant_id = x.tenant_id and a.run_id = x.run_id offset 0) a
   ),
   given_back as (${giveBack}),
   amounts as (
     select tenant_id, subject, metric, period, period_start, sum(amount)::bigint as amount, sum(approved)::bigint as approved
       from held where amount > 0
      group by tenant_id, subject, metric, period, period_start
   )
   update concordat.budgets b set reserved = b.reserved - g.amount, overrun = b.overrun - g.approved
     from amounts g
    cross join lateral (select a.ctid as address from concordat.budgets a where ${SAME_METER('a', 'g')} limit 1) a
    where b.ctid = a.address`,
  )

const RELEASE = {
  ended: release('reservations_release', 'delete from concordat.reservations h using held where h.ctid = held.address'),
  'not executed': release(
    'reservations_give_back',
    `update concordat.reservations h set amount = 0, approved = 0, holder = null
       from held where h.ctid = held.address`,
  ),
}

/**
 * Gives back all that these runs have reserved: they have ended, or nobody executes them any more. Two statements of one
 * flight, because the second must see the rows as they are once they are locked.
 */
export async function releaseReservations(
  tx: Tx,
  runs: readonly RunOfLedger[],
  because: keyof typeof RELEASE,
): Promise<void> {
  if (runs.length === 0) return
  const values = RUNS.values(runs.toSorted((a, b) => (a.runId < b.runId ? -1 : 1)))
  await Promise.all([tx.query(LOCK_RELEASED, values), tx.query(RELEASE[because], values)])
}
