import { type HeldLeases, partitionLeases } from '../../foundation/partition-leases/partition-leases.ts'
import type { Database, Tx } from '../../foundation/storage/storage.ts'

/** A partition that was just taken over. */
export interface TakenPartition {
  readonly partition: number
  /** Fences every write to the partition: another holder has another token. */
  readonly leaseToken: number
  /** The position that the next event gets. */
  readonly nextPosition: number
  /** Rows that were chosen, and perhaps published, but not marked: they go first, at the positions they had. */
  readonly inFlight: readonly bigint[]
  /** Where the search for further ones begins. */
  readonly floor: bigint
}

export interface LeaseChanges {
  readonly taken: readonly TakenPartition[]
  /** Partitions that are no longer ours: given up, or taken by another relay after our lease had run out. */
  readonly lost: readonly number[]
}

export interface LeaseOptions {
  readonly owner: string
  readonly leaseMs: number
  readonly held: HeldLeases
}

const leases = partitionLeases<{ nextPosition: bigint; inFlight: readonly bigint[]; floor: bigint }>({
  name: 'relay_leases',
  table: 'concordat.relay_partitions',
  extras: ', p.next_position as "nextPosition", p.in_flight as "inFlight", p.floor',
})

/** Renews what is held, then takes or gives up partitions until everybody has a fair share. */
export async function balanceLeases(database: Database, options: LeaseOptions): Promise<LeaseChanges> {
  const { taken, lost, surplus } = await leases.balance(database, options)
  await releaseLeases(database, options.owner, surplus)
  return {
    taken: taken.map((row) => ({ ...row, nextPosition: Number(row.nextPosition) })),
    lost: [...lost, ...surplus.keys()],
  }
}

/** Gives partitions up at once, for another relay to take; what is in flight goes with them. */
export function releaseLeases(tx: Tx, owner: string, held: HeldLeases): Promise<void> {
  return leases.release(tx, { owner, held })
}
