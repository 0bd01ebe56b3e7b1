import { openSystemIncidents } from '../../domains/incidents/incidents.ts'
import { type HandlerProgress, type ReactorHealth, reactorHealth } from '../../flow/reactor/reactor.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import { type Finding, ok, warning } from './doctor-findings.ts'
import { age, plural } from './format.ts'

const SHOWN_MAX = 5
/** A running reactor says every minute that its handlers live. */
const SEEN_MS = 180_000
/** What a busy reactor has before it at any moment; more is worth a look. */
const LAG_EVENTS = 1_000

/** Who handles events, how far behind the handlers are, what they gave up, and what is wrong with them. */
export async function reactors(tx: Tx): Promise<Finding[]> {
  const health = await reactorHealth(tx)
  const incidents = await openSystemIncidents(tx, SHOWN_MAX)
  return [
    ...live(health),
    ...progress(health),
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

function progress({ handlers, nowMs }: ReactorHealth): Finding[] {
  const isGone = ({ seenAt }: HandlerProgress) => nowMs - seenAt.getTime() > SEEN_MS
  const behind = handlers.filter((each) => each.lag > LAG_EVENTS || (isGone(each) && each.lag > 0))
  const setAside = handlers.filter((each) => each.setAside > 0)
  const total = handlers.filter((each) => !isGone(each)).reduce((sum, { lag }) => sum + lag, 0)
  return [
    ...(handlers.length > 0 && behind.length === 0
      ? [
          ok(
            'events',
            `${plural(handlers.length, 'handler')}${total === 0 ? ' up to date' : ''}, ${plural(total, 'event')} to go`,
          ),
        ]
      : []),
    ...behind.slice(0, SHOWN_MAX).map((each) => {
      const text = `handler ${each.handler} is ${plural(each.lag, 'event')} behind`
      if (!isGone(each)) return warning('events', text, 'See concordat_reactor_lag_events: does it catch up?')
      const seen = `; no reactor has had it for ${age(nowMs - each.seenAt.getTime())}`
      return warning(
        'events',
        text + seen,
        'Start a reactor that has it; OUTBOX_RETENTION_HOURS later its events may go.',
      )
    }),
    ...setAside.slice(0, SHOWN_MAX).map(({ handler, setAside: events }) => {
      return warning('events', `handler ${handler} has ${plural(events, 'event')} set aside for another try`)
    }),
  ]
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
