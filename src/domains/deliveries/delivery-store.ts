import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'

/** One message to one target. Its id is the receiver's `webhook-id`, the same in every attempt. */
export interface NewDelivery {
  readonly deliveryId: string
  readonly tenantId: string
  readonly runId: string | null
  /** `sink/NAME` or `subscription/ID`. */
  readonly target: string
  /** What it tells of: an event, or a notification. A target is told of one source once. */
  readonly sourceId: string
  /** JSON. */
  readonly payload: string
  readonly dueAt: Date
}

const DELIVERIES = rowSet<NewDelivery>({
  delivery_id: ['uuid', (each) => each.deliveryId],
  tenant_id: ['text', (each) => each.tenantId],
  run_id: ['uuid', (each) => each.runId],
  target: ['text', (each) => each.target],
  source_id: ['uuid', (each) => each.sourceId],
  payload: ['json', (each) => each.payload],
  due_at: ['timestamptz', (each) => each.dueAt],
})

const INSERT = statement(
  'deliveries_insert',
  `insert into concordat.deliveries (${DELIVERIES.names}) select * from ${DELIVERIES.from(1)} as x
   on conflict (source_id, target) do nothing`,
)

/** Writes deliveries that are not there yet, in the transaction that decides on them. */
export async function addDeliveries(tx: Tx, deliveries: readonly NewDelivery[]): Promise<void> {
  if (deliveries.length > 0) await tx.query(INSERT, DELIVERIES.values(deliveries))
}

// `json`, not `jsonb`: the order of keys is kept, as people read it.
const HELD_BACK = statement(
  'deliveries_held_back',
  `update concordat.deliveries
      set payload = json_build_object('type', payload->'type', 'at', payload->'at', 'alert', payload->'alert',
                                      'heldBack', $2::json),
          due_at = $3
    where source_id = $1 and state = 'pending' and attempts = 0 returning 1`,
)

/** Corrects how many others a notification stands for, and when it is due. False: it has been sent already. */
export async function setHeldBack(tx: Tx, sourceId: string, heldBack: object, dueAt: Date): Promise<boolean> {
  return (await tx.query(HELD_BACK, [sourceId, JSON.stringify(heldBack), dueAt])).length > 0
}

export interface ClaimedDelivery {
  readonly deliveryId: string
  readonly tenantId: string
  readonly runId: string | null
  readonly target: string
  readonly payload: string
  /** This one included. */
  readonly attempts: number
  readonly createdAt: Date
}

/*
 * Targets in turn, a few rows of each: one that hangs or has a long queue takes no place of another's. `target` walks the
 * distinct ones by the index, a probe each. A claim makes the row due again, for the case that its sender dies.
 */
const CLAIM = statement(
  'deliveries_claim',
  `with recursive target (name) as (
     (select target from concordat.deliveries where state = 'pending' order by target limit 1)
     union all
     select n.target from target t cross join lateral (
       select d.target from concordat.deliveries d where d.state = 'pending' and d.target > t.name
        order by d.target limit 1) n
   ),
   due as (
     select d.address from target t cross join lateral (
       select r.ctid as address from concordat.deliveries r
        where r.state = 'pending' and r.target = t.name and r.due_at <= statement_timestamp()
        order by r.due_at limit ${limits.deliveriesPerTargetMax} for update skip locked) d
      where (t.name like 'subscription/%' or t.name = any($1::text[])) and t.name <> all($2::text[])
      limit $3
   )
   update concordat.deliveries d
      set attempts = d.attempts + 1, due_at = clock_timestamp() + ${limits.deliveryClaimMs} * interval '1 ms'
     from due where d.ctid = due.address
   returning d.delivery_id as "deliveryId", d.tenant_id as "tenantId", d.run_id as "runId", d.target, d.payload, d.attempts,
             d.created_at as "createdAt"`,
)

export interface DeliveryClaim {
  /** The sinks that this process knows, as targets; subscriptions can be served by all. */
  readonly sinks: readonly string[]
  /** Targets that have enough under way here. */
  readonly busy: readonly string[]
  readonly max: number
}

/** Takes due deliveries for a while: who doesn't settle one in time loses it to the next claim. */
export async function claimDeliveries(tx: Tx, { sinks, busy, max }: DeliveryClaim): Promise<ClaimedDelivery[]> {
  return tx.query<ClaimedDelivery>(CLAIM, [sinks, busy, max])
}

const SETTLE = statement(
  'deliveries_settle',
  `update concordat.deliveries set state = $2, ended_at = clock_timestamp(), last_error = $3
    where delivery_id = $1 and state = 'pending'`,
)

/** Ends a delivery: it arrived, or (`error`) it is given up. */
export async function settleDelivery(tx: Tx, deliveryId: string, error: string | null): Promise<void> {
  await tx.query(SETTLE, [deliveryId, error === null ? 'delivered' : 'dead', error])
}

const RETRY = statement(
  'deliveries_retry',
  `update concordat.deliveries
      set due_at = clock_timestamp() + $3::bigint * interval '1 ms', last_error = $2
    where delivery_id = $1 and state = 'pending'`,
)

export async function retryDelivery(tx: Tx, deliveryId: string, error: string, inMs: number): Promise<void> {
  await tx.query(RETRY, [deliveryId, error, inMs])
}

/** Gives up all that waits for a target. */
export async function giveUpTarget(tx: Tx, target: string, error: string): Promise<void> {
  await tx.query(
    `update concordat.deliveries set state = 'dead', ended_at = clock_timestamp(), last_error = $2
      where target = $1 and state = 'pending'`,
    [target, error],
  )
}

const ORPHANED = statement(
  'deliveries_orphaned',
  `update concordat.deliveries d
      set state = 'dead', ended_at = clock_timestamp(), last_error = 'no process has its sink any more'
     from (select o.ctid as address from concordat.deliveries o
            where o.state = 'pending' and o.target like 'sink/%' and o.target <> all($1::text[])
              and o.due_at < statement_timestamp() - $2::bigint * interval '1 ms'
            limit ${limits.deliveryPruneMax} for update skip locked) old
    where d.ctid = old.address
   returning d.tenant_id as "tenantId", d.target`,
)

/** Gives up some of what has been due for so long to sinks that are not known: nobody takes it. Returns what it was. */
export async function giveUpOrphaned(
  tx: Tx,
  { known, afterMs }: { readonly known: readonly string[]; readonly afterMs: number },
): Promise<{ readonly tenantId: string; readonly target: string }[]> {
  return tx.query(ORPHANED, [known, afterMs])
}

export interface Untaken {
  readonly target: string
  readonly count: number
  readonly sinceMs: number
}

/** Targets for which deliveries wait that have been due for so long and that nobody takes, the longest wait first. */
export async function untakenDeliveries(tx: Tx, forMs: number): Promise<Untaken[]> {
  return tx.query<Untaken>(
    `select target, count(*)::int as count, extract(epoch from clock_timestamp() - min(due_at))::float8 * 1000 as "sinceMs"
       from concordat.deliveries where state = 'pending' and due_at < statement_timestamp() - $1::bigint * interval '1 ms'
      group by target order by 3 desc limit 100`,
    [forMs],
  )
}

const PRUNE = statement(
  'deliveries_prune',
  `delete from concordat.deliveries where ctid = any (array(
     select ctid from concordat.deliveries where ended_at < statement_timestamp() - $1::bigint * interval '1 ms'
      order by ended_at limit ${limits.deliveryPruneMax} for update skip locked))
   returning 1`,
)

/** Deletes deliveries that ended longer ago than this; returns how many, 0 when nothing old is left. */
export async function pruneDeliveries(tx: Tx, retentionMs: number): Promise<number> {
  return (await tx.query(PRUNE, [retentionMs])).length
}
