import { type Database, statement, type Tx } from '../../foundation/storage/storage.ts'
import { type LeaseRow, planLeases } from './lease-plan.ts'

/** A partition that was just taken over. */
export interface TakenPartition {
  readonly partition: number
  /** Fences every write to the partition: another holder has another token. */
  readonly leaseToken: number
  /** The position that the next event gets. */
  readonly nextPosition: number
  /** Rows that were chosen, and perhaps published, but not marked: they go first, at the positions they had. */
  readonly inFlight: readonly bigint[]
}

export interface LeaseChanges {
  readonly taken: readonly TakenPartition[]
  /** Partitions that are no longer ours: given up, or taken by another relay after our lease had run out. */
  readonly lost: readonly number[]
}

export interface LeaseOptions {
  readonly owner: string
  readonly leaseMs: number
  /** Partition to token. */
  readonly held: ReadonlyMap<number, number>
}

const OURS = `owner = $1 and (partition, lease_token) in (select * from unnest($2::smallint[], $3::integer[]))`

const RENEW = statement(
  'relay_leases_renew',
  `update concordat.relay_partitions
      set expires_at = clock_timestamp() + $4 * interval '1 millisecond'
    where ${OURS}
   returning partition`,
)

const READ = statement(
  'relay_leases_read',
  `select partition, owner, lease_token as "leaseToken", coalesce(expires_at > clock_timestamp(), false) as live
     from concordat.relay_partitions order by partition`,
)

// A row that is locked has a holder that is alive, or another relay that is taking it.
const TAKE = statement(
  'relay_leases_take',
  `with wanted as (
     select partition from concordat.relay_partitions
      where (partition, lease_token) in (select * from unnest($2::smallint[], $3::integer[]))
        for update skip locked
   )
   update concordat.relay_partitions p
      set owner = $1, lease_token = p.lease_token + 1,
          expires_at = clock_timestamp() + $4 * interval '1 millisecond'
     from wanted where p.partition = wanted.partition
   returning p.partition, p.lease_token as "leaseToken", p.next_position as "nextPosition", p.in_flight as "inFlight"`,
)

const RELEASE = statement(
  'relay_leases_release',
  `update concordat.relay_partitions set owner = null, expires_at = null where ${OURS}`,
)

/** Renews what is held, then takes or gives up partitions until everybody has a fair share. One transaction. */
export function balanceLeases(database: Database, options: LeaseOptions): Promise<LeaseChanges> {
  const { owner, leaseMs, held } = options
  return database.transaction(async (tx) => {
    const [renewed, rows] = await Promise.all([
      tx.query<{ partition: number }>(RENEW, [owner, [...held.keys()], [...held.values()], leaseMs]),
      tx.query<LeaseRow>(READ),
    ])
    const still = new Set(renewed.map((row) => row.partition))
    const { take, release } = planLeases(rows, owner, held)
    const given = release.map((row) => row.partition)
    if (release.length > 0)
      await releaseLeases(tx, owner, new Map(release.map((row) => [row.partition, row.leaseToken])))
    const taken = take.length > 0 ? await takeLeases(tx, options, take) : []
    return { taken, lost: [...held.keys()].filter((partition) => !still.has(partition) || given.includes(partition)) }
  })
}

async function takeLeases(
  tx: Tx,
  { owner, leaseMs }: LeaseOptions,
  rows: readonly LeaseRow[],
): Promise<TakenPartition[]> {
  const partitions = rows.map((row) => row.partition)
  const tokens = rows.map((row) => row.leaseToken)
  const taken = await tx.query<Omit<TakenPartition, 'nextPosition'> & { nextPosition: bigint }>(TAKE, [
    owner,
    partitions,
    tokens,
    leaseMs,
  ])
  return taken.map((row) => ({ ...row, nextPosition: Number(row.nextPosition) }))
}

/** Gives partitions up at once, for another relay to take; what is in flight goes with them. */
export async function releaseLeases(tx: Tx, owner: string, held: ReadonlyMap<number, number>): Promise<void> {
  if (held.size > 0) await tx.query(RELEASE, [owner, [...held.keys()], [...held.values()]])
}
