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
 * Who should have which partition, seen by `self`, which holds those in `held` (partition to token). Each of k live
 * holders gets at most the k-th part of the partitions, rounded up: one that has more gives some up, one that has less
 * takes free ones.
 *
 * Where all live holders are known by other means (`members`), a newcomer waits until the others give up its share.
 * Where they are not, one that finds none free takes a single one from whoever has most: that makes it visible to the
 * others, which then give up the rest of its share.
 */
export function planLeases(
  rows: readonly LeaseRow[],
  self: string,
  held: ReadonlyMap<number, number>,
  members?: readonly string[],
): LeasePlan {
  const mine = rows.filter((row) => row.owner === self && held.get(row.partition) === row.leaseToken)
  const others = rows.filter((row) => row.live && row.owner !== null && row.owner !== self)
  // What is ours by name but not held is from before an error: to be taken anew, with another token.
  const free = rows.filter((row) => !mine.includes(row) && !others.includes(row))
  const byOwner = Map.groupBy(others, (row) => row.owner)
  const holders = members ?? [...byOwner.keys()]
  const share = Math.ceil(rows.length / (holders.filter((holder) => holder !== self).length + 1))
  if (mine.length > share) return { take: [], release: mine.slice(share) }
  if (free.length > 0) return { take: free.slice(0, share - mine.length), release: [] }
  if (mine.length > 0 || members !== undefined) return { take: [], release: [] }
  const [richest = []] = [...byOwner.values()].toSorted((a, b) => b.length - a.length)
  return { take: richest.length > 1 ? richest.slice(-1) : [], release: [] }
}
