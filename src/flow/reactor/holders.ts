/** A live reactor of the group. */
export interface Member {
  readonly memberId: string
  readonly process: string
  /** Names of its handlers. */
  readonly handlers: readonly string[]
  readonly startedAt: Date
}

/**
 * Those of the live reactors that may hold partitions. A partition has one reactor, which must have every handler of
 * the group, or events would pass a handler by. So only reactors with the same handlers share the partitions: those
 * that have all that others have; where several sets have something of their own, the one of the reactor that was
 * started last, since it has the newest configuration. The other reactors stand by while these live.
 */
export function holdersOf(members: readonly Member[]): readonly Member[] {
  const largest = members.filter((member) => !members.some((other) => lacks(member, other) && !lacks(other, member)))
  const [leader] = largest.toSorted((a, b) => +b.startedAt - +a.startedAt || (a.memberId < b.memberId ? 1 : -1))
  if (!leader) return []
  return largest.filter((member) => !lacks(member, leader) && !lacks(leader, member))
}

/** Whether `member` lacks a handler that `other` has. */
function lacks(member: Member, other: Member): boolean {
  return other.handlers.some((name) => !member.handlers.includes(name))
}
