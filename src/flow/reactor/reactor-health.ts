import { UNPUBLISHED_SQL } from '../../foundation/events/events.ts'
import type { Tx } from '../../foundation/storage/storage.ts'

/** A reactor whose lease holds. */
export interface LiveReactor {
  readonly group: string
  readonly process: string
  /** Partitions that it holds; 0 when it stands by. */
  readonly partitions: number
  readonly heartbeatAt: Date
}

/** How far a handler is, over all partitions. */
export interface HandlerProgress {
  readonly group: string
  readonly handler: string
  /** Published events that it has not dealt with. */
  readonly lag: number
  /** Whether a live reactor has it. */
  readonly hasReactor: boolean
  /** When a reactor that has it was last alive. */
  readonly seenAt: Date
  /** Events that it has failed on and gets again, and the later ones of their runs. */
  readonly setAside: number
}

/** Dead letters of one handler, or the messages that are no events: their handler is null. */
export interface DeadLetterCount {
  readonly group: string
  readonly handler: string | null
  readonly count: number
  readonly latestAt: Date
}

export interface ReactorHealth {
  readonly nowMs: number
  readonly reactors: readonly LiveReactor[]
  readonly handlers: readonly HandlerProgress[]
  /** Events that wait to be published, and so for every handler. */
  readonly unpublished: number
  readonly deadLetters: readonly DeadLetterCount[]
}

const REACTORS = `
  select m.reactor_group as "group", m.process, m.heartbeat_at as "heartbeatAt",
         (select count(*)::int from concordat.reactor_partitions p
           where p.reactor_group = m.reactor_group and p.owner = m.member_id) as partitions
    from concordat.reactor_members m where m.expires_at > clock_timestamp() order by m.started_at limit 100`

const HANDLERS = `
  select c.reactor_group as "group", c.handler, max(c.seen_at) as "seenAt",
         sum(greatest(p.next_position - 1 - c.position, 0))::float8 as lag,
         exists (select from concordat.reactor_members m
                  where m.reactor_group = c.reactor_group and c.handler = any (m.handlers)
                    and m.expires_at > clock_timestamp()) as "hasReactor",
         (select count(*)::int from concordat.reactor_retries r
           where r.reactor_group = c.reactor_group and r.handler = c.handler) as "setAside"
    from concordat.reactor_checkpoints c join concordat.relay_partitions p using (partition)
   group by c.reactor_group, c.handler order by 1, 2 limit 500`

const UNPUBLISHED = `
  select coalesce(sum(event_count), 0)::float8 as events from ${UNPUBLISHED_SQL} o`

const DEAD_LETTERS = `
  select reactor_group as "group", handler, count(*)::int as count, max(created_at) as "latestAt"
    from concordat.dead_letters group by reactor_group, handler order by 1, 2 limit 500`

/** What the database knows of reactors: who lives, how far each handler is, and what was given up. Changes nothing. */
export async function reactorHealth(tx: Tx): Promise<ReactorHealth> {
  const [now] = await tx.query<{ nowMs: number }>(
    'select extract(epoch from clock_timestamp())::float8 * 1000 as "nowMs"',
  )
  const [waiting] = await tx.query<{ events: number }>(UNPUBLISHED)
  return {
    nowMs: now?.nowMs ?? 0,
    reactors: await tx.query<LiveReactor>(REACTORS),
    handlers: await tx.query<HandlerProgress>(HANDLERS),
    unpublished: waiting?.events ?? 0,
    deadLetters: await tx.query<DeadLetterCount>(DEAD_LETTERS),
  }
}
