/** A partition's lease as the table shows it. */
export interface LeaseRow {
  readonly partition: number
  readonly owner: string | null
  readonly leaseToken: number
  /** False once it has run out. */
  readonly live: boolean
}

export interface LeasePlan {
  /** To take over, each with the token that it has now: who is first changes it. */
  readonly take: readonly LeaseRow[]
  /** To give up, so that others get their share. */
  readonly release: readonly LeaseRow[]
}

/**
 * Who should relay which partition, seen by `self`, which holds those in `held` (partition to token). Each of k live
 * relays gets at most the k-th part of the partitions, rounded up: one that has more gives some up, one that has less
 * takes free ones. A newcomer that finds none free takes a single one from whoever has most: that makes it visible to
 * the others, which then give up the rest of its share.
 */
export function planLeases(rows: readonly LeaseRow[], self: string, held: ReadonlyMap<number, number>): LeasePlan {
  const mine = rows.filter((row) => row.owner === self && held.get(row.partition) === row.leaseToken)
  const others = rows.filter((row) => row.live && row.owner !== null && row.owner !== self)
  // What is ours by name but not held is from before an error: to be taken anew, with another token.
  const free = rows.filter((row) => !mine.includes(row) && !others.includes(row))
  const byOwner = Map.groupBy(others, (row) => row.owner)
  const share = Math.ceil(rows.length / (byOwner.size + 1))
  if (mine.length > share) return { take: [], release: mine.slice(share) }
  if (free.length > 0) return { take: free.slice(0, share - mine.length), release: [] }
  if (mine.length > 0) return { take: [], release: [] }
  const [richest = []] = [...byOwner.values()].toSorted((a, b) => b.length - a.length)
  return { take: richest.length > 1 ? richest.slice(-1) : [], release: [] }
}
