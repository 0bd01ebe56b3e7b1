import { hash } from 'node:crypto'

/** A live reactor of the group. */
export interface Member {
  readonly memberId: string
  readonly process: string
  /** Names of its handlers. */
  readonly handlers: readonly string[]
  readonly startedAt: Date
}

/** What one reactor works on, given all live ones of its group. */
export interface HandlerHome {
  /** Those of its handlers that it works on; none: it stands by. */
  readonly handlers: readonly string[]
  /** The reactors with the same handlers, itself included: they share the partitions. */
  readonly peers: readonly Member[]
  /** Those of its handlers that reactors with other ones work on. */
  readonly elsewhere: readonly string[]
  /** Of reactors with different handlers those of one set do what is to be done once a group. */
  readonly isFirst: boolean
}

const SCOPE_CHARS = 12

/** Names the leases that reactors of a group share which have just these handlers. */
export function leaseScopeOf(group: string, handlers: readonly string[]): string {
  return `${group}:${hash('sha256', JSON.stringify(handlers.toSorted())).slice(0, SCOPE_CHARS)}`
}

/**
 * Pure. On a partition each handler has one reactor, or its events would be handled twice. Reactors with the same
 * handlers are alike, and share the partitions; a handler that differing reactors have belongs to those that have the
 * most handlers, and of as many, to those of which one was started last, since they have the newest configuration.
 */
export function homeOf(memberId: string, members: readonly Member[]): HandlerHome {
  const self = members.find((member) => member.memberId === memberId)
  if (!self) return { handlers: [], peers: [], elsewhere: [], isFirst: false }
  const alike = Map.groupBy(members, ({ handlers }) => JSON.stringify(handlers.toSorted()))
  const sets = [...alike].map(([key, own]) => {
    return { key, own, size: own[0]?.handlers.length ?? 0, startedMs: Math.max(...own.map((each) => +each.startedAt)) }
  })
  const ranked = sets.toSorted((a, b) => b.size - a.size || b.startedMs - a.startedMs || (a.key < b.key ? 1 : -1))
  const mine = JSON.stringify(self.handlers.toSorted())
  const isHere = (handler: string) => ranked.find(({ own }) => own[0]?.handlers.includes(handler))?.key === mine
  return {
    handlers: self.handlers.filter(isHere),
    peers: alike.get(mine) ?? [],
    elsewhere: self.handlers.filter((handler) => !isHere(handler)),
    isFirst: ranked[0]?.key === mine,
  }
}
