import type { Config } from '../../config.ts'
import { openSystemIncidents } from '../../domains/incidents/incidents.ts'
import { type HandlerProgress, type ReactorHealth, reactorHealth } from '../../flow/reactor/reactor.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import { type Finding, ok, warning } from './doctor-findings.ts'
import { age, plural } from './format.ts'

const SHOWN_MAX = 5
const OUR_HANDLERS = 'concordat.'
/** What a busy reactor has before it at any moment; more is worth a look. */
const LAG_EVENTS = 1_000

/** Who handles events, how far behind the handlers are, what they gave up, and what is wrong with them. */
export async function reactors(tx: Tx, { outboxRetentionMs }: Pick<Config, 'outboxRetentionMs'>): Promise<Finding[]> {
  const health = await reactorHealth(tx)
  const incidents = await openSystemIncidents(tx, SHOWN_MAX)
  return [
    ...live(health),
    ...progress(health, outboxRetentionMs),
    ...deadLetters(health),
    ...incidents.map(({ component, subject, message }) => warning('events', `${component} ${subject}: ${message}`)),
  ]
}

function live({ reactors, nowMs }: ReactorHealth): Finding[] {
  if (reactors.length === 0) {
    const text = 'no reactor is alive: handlers get no events, and nobody is told of alerts'
    return [warning('events', text, 'concordat reactor, or a worker with EVENT_REACTOR_ENABLED=true')]
  }
  return reactors.map(({ process, group, partitions, heartbeatAt }) => {
    const share = partitions > 0 ? `has ${plural(partitions, 'partition')}` : 'stands by'
    const beat = age(nowMs - heartbeatAt.getTime())
    return ok('events', `reactor ${process} of group ${group} ${share}, last heartbeat ${beat} ago`)
  })
}

function progress({ handlers, reactors, unpublished, nowMs }: ReactorHealth, retentionMs: number): Finding[] {
  // One that nobody has had for the retention holds nothing up any more: it was renamed, or taken away for good.
  // Which of our own there are follows from the configuration: every reactor has those that it needs. Without any
  // reactor that alone is told.
  const missed = handlers.filter(({ handler, hasReactor, seenAt, lag }) => {
    const isKept = nowMs - seenAt.getTime() < retentionMs
    return !hasReactor && isKept && !handler.startsWith(OUR_HANDLERS) && (reactors.length > 0 || lag > 0)
  })
  const forgotten = `${age(retentionMs)} (OUTBOX_RETENTION_HOURS) after it was last seen it is told of no more`
  const hint = `Start a reactor that has it. Or was it removed on purpose? ${forgotten}, and its events may go.`
  const had = handlers.filter(({ hasReactor }) => hasReactor)
  const behind = had.filter(({ lag }) => lag > LAG_EVENTS)
  const setAside = handlers.filter((each) => each.setAside > 0)
  return [
    ...(had.length > 0 && behind.length === 0 ? [ok('events', upToDate(had, unpublished))] : []),
    ...behind.slice(0, SHOWN_MAX).map(({ handler, lag }) => {
      const text = `handler ${handler} is ${plural(lag, 'event')} behind`
      return warning('events', text, 'See concordat_reactor_lag_events: does it catch up?')
    }),
    ...missed.slice(0, SHOWN_MAX).map(({ handler, group, lag, seenAt }) => {
      const seen = `last seen ${age(nowMs - seenAt.getTime())} ago`
      const text = `no live reactor of group ${group} has handler ${handler}, ${seen}; it is ${plural(lag, 'event')} behind`
      return warning('events', text, hint)
    }),
    ...(missed.length > SHOWN_MAX
      ? [warning('events', `no live reactor has ${plural(missed.length - SHOWN_MAX, 'more handler')}`)]
      : []),
    ...setAside.slice(0, SHOWN_MAX).map(({ handler, setAside: events }) => {
      return warning('events', `handler ${handler} has ${plural(events, 'event')} set aside for another try`)
    }),
  ]
}

/** What is not published has no handler yet, and each will have it before it. */
function upToDate(handlers: readonly HandlerProgress[], unpublished: number): string {
  const toGo = handlers.reduce((sum, { lag }) => sum + lag, 0)
  const text = `${plural(handlers.length, 'handler')}${toGo + unpublished === 0 ? ' up to date' : ''}, ${plural(toGo, 'event')} to go`
  return unpublished === 0
    ? text
    : `${text}, and ${plural(unpublished, 'event')} that ${unpublished === 1 ? 'waits' : 'wait'} to be published`
}

function deadLetters({ deadLetters: all, nowMs }: ReactorHealth): Finding[] {
  return all.slice(0, SHOWN_MAX).map(({ handler, group, count, latestAt }) => {
    const latest = `the latest ${age(nowMs - latestAt.getTime())} ago`
    if (handler === null) {
      const text = `${plural(count, 'message')} that ${count === 1 ? 'is' : 'are'} no event, ${latest}`
      return warning('events', text, 'Look for a foreign publisher: they are rows of concordat.dead_letters.')
    }
    const next = `concordat events redrive --dead-letters --handler ${quoted(handler)}`
    const text = `${plural(count, 'dead letter')} of handler ${handler}, ${latest}`
    return warning('events', text, group === 'concordat' ? next : `${next} --group ${quoted(group)}`)
  })
}

/** As a shell takes it. */
function quoted(name: string): string {
  return /^[\w.:@#/-]+$/.test(name) ? name : `'${name.replaceAll("'", `'\\''`)}'`
}
