import {
  type BalancedLeases,
  type BalanceOptions,
  partitionLeases,
} from '../../foundation/partition-leases/partition-leases.ts'
import { type Database, statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { holdersOf, type Member } from './holders.ts'

const leases = partitionLeases({
  name: 'reactor_leases',
  table: 'concordat.reactor_partitions',
  scopeColumn: 'reactor_group',
})

const CREATE_PARTITIONS = statement(
  'reactor_partitions_create',
  `insert into concordat.reactor_partitions (reactor_group, partition)
   select $1, generate_series(0, $2 - 1) on conflict do nothing`,
)

/** A group's leases, before its first reactor asks for some. */
export async function createPartitions(tx: Tx, group: string): Promise<void> {
  await tx.query(CREATE_PARTITIONS, [group, limits.partitions])
}

const RENEW = statement(
  'reactor_member_renew',
  `insert into concordat.reactor_members (member_id, reactor_group, process, handlers, expires_at)
   values ($1, $2, $3, $4, clock_timestamp() + $5 * interval '1 millisecond')
   on conflict (member_id) do update set handlers = excluded.handlers, expires_at = excluded.expires_at`,
)

const READ = statement(
  'reactor_members_read',
  `select member_id as "memberId", process, handlers, started_at as "startedAt"
     from concordat.reactor_members where reactor_group = $1 and expires_at > clock_timestamp()`,
)

const NOW = statement('reactor_now', `select extract(epoch from clock_timestamp())::float8 * 1000 as "nowMs"`)

export interface BalanceAsMember extends Omit<BalanceOptions, 'scope' | 'members'> {
  readonly group: string
  readonly process: string
  readonly handlers: readonly string[]
}

export interface MemberBalance extends BalancedLeases<unknown> {
  /** Reactors that have handlers which this one lacks: while they live it has no partition. Empty in the usual case. */
  readonly yieldsTo: readonly Member[]
  readonly databaseNowMs: number
}

/** Says that this reactor lives, renews its leases and takes its share of the partitions. One transaction. */
export function balance(database: Database, options: BalanceAsMember): Promise<MemberBalance> {
  const { owner, group, process, handlers, leaseMs, held } = options
  return database.transaction(async (tx) => {
    const [, members, [now]] = await Promise.all([
      tx.query(RENEW, [owner, group, process, handlers, leaseMs]),
      tx.query<Member>(READ, [group]),
      tx.query<{ nowMs: number }>(NOW),
    ])
    const databaseNowMs = now?.nowMs ?? 0
    const holders = holdersOf(members)
    const ids = holders.map((member) => member.memberId)
    if (!ids.includes(owner)) return { taken: [], lost: [], surplus: held, yieldsTo: holders, databaseNowMs }
    const balanced = await leases.balance(tx, { owner, leaseMs, held, scope: group, members: ids })
    return { ...balanced, yieldsTo: [], databaseNowMs }
  })
}

/** Gives partitions up at once, for another reactor to take. */
export function releasePartitions(
  tx: Tx,
  { owner, group, held }: Pick<BalanceAsMember, 'owner' | 'group' | 'held'>,
): Promise<void> {
  return leases.release(tx, { owner, held, scope: group })
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

/** Returns the processes that are gone. */
export async function removeDeadMembers(tx: Tx): Promise<string[]> {
  return (await tx.query<{ process: string }>(REMOVE_DEAD)).map(({ process }) => process)
}

const LEAVE = statement('reactor_member_leave', 'delete from concordat.reactor_members where member_id = $1')

/** This reactor has stopped. */
export async function leave(tx: Tx, memberId: string): Promise<void> {
  await tx.query(LEAVE, [memberId])
}
