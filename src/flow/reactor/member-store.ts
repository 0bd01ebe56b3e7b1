import { type BalanceOptions, partitionLeases } from '../../foundation/partition-leases/partition-leases.ts'
import { type Database, rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { homeOf, type Member } from './handler-homes.ts'

const leases = partitionLeases({
  name: 'reactor_leases',
  table: 'concordat.reactor_partitions',
  scopeColumn: 'lease_scope',
})

// Who takes partitions must know what reactors with other handlers have: one at a time, and none waits for one that hangs.
const LOCK = statement(
  'reactor_balance_lock',
  `select pg_try_advisory_xact_lock(hashtextextended('concordat.reactor.' || $1, 0)) as "mayTake"`,
)

const CREATE_PARTITIONS = statement(
  'reactor_partitions_create',
  `insert into concordat.reactor_partitions (lease_scope, reactor_group, partition)
   select $1, $2, p from generate_series(0, $3 - 1) p
    where not exists (select from concordat.reactor_partitions where lease_scope = $1) on conflict do nothing`,
)

const RENEW = statement(
  'reactor_member_renew',
  `insert into concordat.reactor_members (member_id, reactor_group, process, handlers, lease_scope, expires_at)
   values ($1, $2, $3, $4, $5, clock_timestamp() + $6 * interval '1 millisecond')
   on conflict (member_id) do update
     set handlers = excluded.handlers, lease_scope = excluded.lease_scope, expires_at = excluded.expires_at`,
)

const READ = statement(
  'reactor_members_read',
  `select member_id as "memberId", process, handlers, started_at as "startedAt"
     from concordat.reactor_members where reactor_group = $1 and expires_at > clock_timestamp()`,
)

const READ_OTHERS = statement(
  'reactor_leases_others',
  `select partition, handlers from concordat.reactor_partitions
    where reactor_group = $1 and lease_scope <> $2 and owner is not null and expires_at > clock_timestamp()`,
)

const NOW = statement('reactor_now', `select extract(epoch from clock_timestamp())::float8 * 1000 as "nowMs"`)

/** A partition with the handlers that its lease is for. */
export interface WorkedPartition {
  readonly partition: number
  readonly handlers: readonly string[]
}

const WORKED = rowSet<WorkedPartition>({
  partition: ['smallint', (each) => each.partition],
  handlers: ['jsonb', (each) => JSON.stringify(each.handlers)],
})

const SET_HANDLERS = statement(
  'reactor_leases_set_handlers',
  `update concordat.reactor_partitions p set handlers = array(select jsonb_array_elements_text(x.handlers))
     from ${WORKED.from(3)} as x where p.lease_scope = $1 and p.owner = $2 and p.partition = x.partition`,
)

export interface BalanceAsMember extends Omit<BalanceOptions, 'members' | 'mayTake'> {
  readonly group: string
  /** Of the leases that reactors with the same handlers share. */
  readonly scope: string
  readonly process: string
  readonly handlers: readonly string[]
  /** What each partition that is held is worked on for. */
  readonly working: ReadonlyMap<number, readonly string[]>
}

export interface MemberBalance {
  readonly taken: readonly (WorkedPartition & { readonly leaseToken: number })[]
  /** No longer ours. */
  readonly lost: readonly number[]
  /** To be given up: others get their share, or other handlers than before are to be worked on there. */
  readonly surplus: readonly number[]
  /** Handlers of this reactor that reactors with other ones work on. */
  readonly elsewhere: readonly string[]
  /** Whether this reactor, and those with the same handlers, do what is to be done once a group. */
  readonly isFirst: boolean
  /** Another reactor was taking partitions: it is to be tried again soon. */
  readonly isBusy: boolean
  readonly databaseNowMs: number
}

/** Says that this reactor lives, renews its leases and takes its share of the partitions. One transaction. */
export function balance(database: Database, options: BalanceAsMember): Promise<MemberBalance> {
  const { owner, group, scope, process, handlers, leaseMs, held, working } = options
  return database.transaction(async (tx) => {
    const [[lock], , , members, others, [now]] = await Promise.all([
      tx.query<{ mayTake: boolean }>(LOCK, [group]),
      tx.query(CREATE_PARTITIONS, [scope, group, limits.partitions]),
      tx.query(RENEW, [owner, group, process, handlers, scope, leaseMs]),
      tx.query<Member>(READ, [group]),
      tx.query<WorkedPartition>(READ_OTHERS, [group, scope]),
      tx.query<{ nowMs: number }>(NOW),
    ])
    const { mayTake = false } = lock ?? {}
    const home = homeOf(owner, members)
    const { elsewhere, isFirst } = home
    const told = { elsewhere, isFirst, isBusy: !mayTake, databaseNowMs: now?.nowMs ?? 0 }
    if (home.handlers.length === 0) return { ...told, taken: [], lost: [], surplus: [...held.keys()] }
    const peers = home.peers.map((member) => member.memberId)
    const balanced = await leases.balance(tx, { owner, leaseMs, held, scope, members: peers, mayTake })
    const isTaken = new Set(others.flatMap((each) => each.handlers.map((name) => `${each.partition} ${name}`)))
    const free = (partition: number) => home.handlers.filter((name) => !isTaken.has(`${partition} ${name}`))
    const taken = balanced.taken.map((lease) => ({ ...lease, handlers: free(lease.partition) }))
    if (taken.length > 0) await tx.query(SET_HANDLERS, [scope, owner, ...WORKED.values(taken)])
    const changed = [...working].filter(
      ([partition, names]) =>
        names.length !== free(partition).length || names.some((name) => !free(partition).includes(name)),
    )
    const surplus = new Set([...balanced.surplus.keys(), ...changed.map(([partition]) => partition)])
    return { ...told, taken, lost: balanced.lost, surplus: [...surplus] }
  })
}

/** Gives partitions up at once, for another reactor to take. */
export function releasePartitions(tx: Tx, leased: Pick<BalanceAsMember, 'owner' | 'scope' | 'held'>): Promise<void> {
  return leases.release(tx, leased)
}

const BEAT = statement(
  'reactor_member_beat',
  'update concordat.reactor_members set heartbeat_at = clock_timestamp() where member_id = $1 returning 1 as beat',
)

/** Stores a heartbeat; false when the reactor is not among the members, because it has not renewed its leases. */
export async function storeHeartbeat(tx: Tx, memberId: string): Promise<boolean> {
  return (await tx.query(BEAT, [memberId])).length > 0
}

// A process that was killed leaves its row; what it held is free as soon as its lease has run out.
const REMOVE_DEAD = statement(
  'reactor_members_remove',
  `delete from concordat.reactor_members where expires_at < clock_timestamp() - interval '1 hour' returning process`,
)

const REMOVE_SCOPES = statement(
  'reactor_partitions_remove',
  `delete from concordat.reactor_partitions p
    where not exists (select from concordat.reactor_members m where m.lease_scope = p.lease_scope)
      and (p.expires_at is null or p.expires_at < clock_timestamp())`,
)

/** Returns the processes that are gone. What reactors with their handlers had shared goes with the last of them. */
export async function removeDeadMembers(tx: Tx): Promise<string[]> {
  await tx.query(REMOVE_SCOPES)
  return (await tx.query<{ process: string }>(REMOVE_DEAD)).map(({ process }) => process)
}

const LEAVE = statement('reactor_member_leave', 'delete from concordat.reactor_members where member_id = $1')

/** This reactor has stopped. */
export async function leave(tx: Tx, memberId: string): Promise<void> {
  await tx.query(LEAVE, [memberId])
}
