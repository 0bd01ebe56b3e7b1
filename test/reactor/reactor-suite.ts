import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { TransactionalContext } from '../../src/flow/reactor/reactor.ts'
import type { EventEnvelope } from '../../src/foundation/events/events.ts'
import { until } from '../flow/support/until.ts'
import type { PostgresServer } from '../support/servers.ts'
import { hearing, newId, ReactorWorld, transports, untilHeard } from './reactor-world.ts'

const runs = (count: number) => Array.from({ length: count }, newId)
const write =
  (handler: string) =>
  (event: EventEnvelope, { tx }: TransactionalContext) =>
    tx.query('insert into effects (handler, run_id, event_id) values ($1, $2, $3)', [handler, event.runId, event.id])

/** What a reactor promises over every transport. */
export function describeReactor(server: PostgresServer, transport: string, redisUrl = ''): void {
  describe(`a reactor over ${transport}`, () => {
    /** Each promise in a world of its own, all at the same time. */
    const promises = (promise: string, keep: (world: ReactorWorld) => Promise<void>) =>
      it.concurrent(promise, async () => {
        const prefix = `concordat-test-${randomBytes(6).toString('hex')}`
        const world = await ReactorWorld.open(server, transports[transport]!(redisUrl, prefix))
        try {
          await keep(world)
        } finally {
          await world.close()
        }
      })

    promises(
      'brings each event to the handlers of its type, of its prefix and of all, the highest priority first',
      async (world) => {
        const reactor = await world.reactor()
        const calls: string[] = []
        const note = (name: string) => (event: EventEnvelope) => void calls.push(`${name} ${event.type}`)
        reactor.on('run.started', note('exact'))
        reactor.on('run.*', note('prefix'), { priority: 1 })
        reactor.on('*', note('all'), { priority: 2 })
        reactor.on('trace.*', note('other'))
        await reactor.startBackground()
        await world.commit(runs(1), ['run.started', 'policy.evaluated'])
        await untilHeard(calls, 4)
        expect(calls.filter((call) => call.endsWith('run.started'))).toEqual([
          'all run.started',
          'prefix run.started',
          'exact run.started',
        ])
      },
    )

    promises(
      'handles the events of a run in order, each once, also those from before it was started',
      async (world) => {
        const reactor = await world.reactor()
        const { heard, handle } = hearing()
        reactor.on('*', handle, { name: 'all' })
        reactor.on('*', write('written'), { name: 'written', transactional: true })
        const some = runs(20)
        const ids: string[] = []
        for (let i = 0; i < 5; i++) ids.push(...(await world.commit(some, ['run.created', 'run.started'])))
        await reactor.startBackground()
        for (let i = 0; i < 5; i++) ids.push(...(await world.commit(some, ['run.stop_requested', 'run.failed'])))
        await untilHeard(heard, 400)
        await until(
          () => world.effects('written'),
          (effects) => effects.length === 400,
        )
        expect(new Set(heard.map((event) => event.id))).toEqual(new Set(ids))
        const effects = await world.effects('written')
        for (const runId of some) {
          const committed = ids.filter((id) => heard.some((event) => event.id === id && event.runId === runId))
          expect(heard.filter((event) => event.runId === runId).map((event) => event.id)).toEqual(committed)
          expect(effects.filter((effect) => effect.runId === runId).map((effect) => effect.eventId)).toEqual(committed)
        }
      },
    )

    promises(
      'lets a handler that fails stop no other handler and no other run, and gives up after five tries',
      async (world) => {
        const reactor = await world.reactor()
        const [poisoned = '', healthy = ''] = runs(2)
        const tried: string[] = []
        const good = hearing()
        reactor.on('*', good.handle, { name: 'good' })
        reactor.on(
          '*',
          (event, { attempt }) => {
            tried.push(`${event.runId === poisoned ? 'poisoned' : 'healthy'} ${event.type} ${attempt}`)
            if (event.runId === poisoned && event.type === 'run.created') throw new Error('no, thank you')
          },
          { name: 'bad' },
        )
        await reactor.startBackground()
        await world.commit([poisoned, healthy], ['run.created', 'run.started'])
        await untilHeard(tried, 8)
        expect(tried.filter((call) => call.startsWith('healthy'))).toEqual([
          'healthy run.created 1',
          'healthy run.started 1',
        ])
        expect(tried.filter((call) => call.startsWith('poisoned'))).toEqual([
          ...[1, 2, 3, 4, 5].map((attempt) => `poisoned run.created ${attempt}`),
          'poisoned run.started 1',
        ])
        await until(
          () => world.deadLetters(),
          (letters) => letters.length === 1,
        )
        const [dead] = await world.deadLetters()
        expect(dead).toMatchObject({ handler: 'bad', runId: poisoned, attempts: 5 })
        expect(JSON.parse(dead?.cause ?? '')).toMatchObject({ message: 'no, thank you' })
        expect(JSON.parse(dead?.envelope ?? '')).toMatchObject({ subject: poisoned, type: 'run.created' })
        expect(good.heard).toHaveLength(4)
      },
    )

    promises('goes on where it stopped, and hands an event that failed to the next reactor', async (world) => {
      const first = await world.reactor()
      const heard: string[] = []
      const [runId = ''] = runs(1)
      first.on('*', (event) => void heard.push(event.type), { name: 'heard' })
      first.on(
        '*',
        async (event, context) => {
          if (event.type === 'run.created') throw new Error('not today')
          await write('strict')(event, context)
        },
        { name: 'strict', transactional: true },
      )
      await first.startBackground()
      await world.commit([runId], ['run.created', 'run.started'])
      await untilHeard(heard, 2)
      await until(
        () => world.database.query('select 1 from concordat.reactor_retries'),
        (rows) => rows.length === 2,
      )
      await first.stop()
      expect(first.state).toBe('STOPPED')

      const second = await world.reactor()
      second.on('*', (event) => void heard.push(event.type), { name: 'heard' })
      second.on('*', write('strict'), { name: 'strict', transactional: true })
      await second.startBackground()
      await world.commit([runId], ['run.failed'])
      await until(
        () => world.effects('strict'),
        (effects) => effects.length === 3,
      )
      expect(heard).toEqual(['run.created', 'run.started', 'run.failed'])
      expect(await world.database.query('select 1 from concordat.reactor_retries')).toHaveLength(0)
      expect(await world.deadLetters()).toHaveLength(0)
    })

    promises('shares the partitions with others, and each event is handled by one of them', async (world) => {
      const audience = [hearing(), hearing(), hearing()]
      const reactors = await Promise.all(audience.map(() => world.reactor()))
      for (const [i, reactor] of reactors.entries()) reactor.on('*', audience[i]!.handle, { name: 'all' })
      await Promise.all(reactors.map((reactor) => reactor.startBackground()))
      const shares = async () => {
        const rows = await world.database.query<{ share: number }>(
          'select count(*)::int as share from concordat.reactor_partitions where owner is not null group by owner',
        )
        return rows.map((row) => row.share).toSorted((a, b) => a - b)
      }
      await until(shares, (found) => found.join() === '4,6,6')
      const some = runs(200)
      for (let i = 0; i < 3; i++) await world.commit(some)
      await until(
        () => new Set(audience.flatMap(({ ids }) => ids())).size,
        (count) => count === 600,
      )
      for (const { heard } of audience) expect(heard.length).toBeGreaterThan(0)
      await reactors[0]!.stop()
      await world.commit(some)
      await until(
        () => new Set(audience.flatMap(({ ids }) => ids())).size,
        (count) => count === 800,
      )
    })

    promises(
      'works on its handlers beside reactors with others, and on each that both have only one does',
      async (world) => {
        const heard: Record<string, string[]> = { x: [], y: [], both: [] }
        const note = (name: string) => (event: EventEnvelope) => void heard[name]?.push(event.id)
        const of = async (own: string) => {
          const reactor = await world.reactor({ leaseMs: 1_000 })
          reactor.on('*', note(own), { name: own })
          reactor.on('*', note('both'), { name: 'both' })
          await reactor.startBackground()
          return reactor
        }
        const some = runs(50)
        const ids: string[] = []
        const commitAnd = async (hear: readonly string[]) => {
          ids.push(...(await world.commit(some)))
          await until(
            () => hear.every((name) => heard[name]?.length === ids.length),
            (all) => all,
          )
        }
        await of('x')
        await commitAnd(['x', 'both'])
        const second = await of('y')
        await commitAnd(['x', 'y', 'both'])
        const working = async () => {
          const rows = await world.database.query<{ handlers: string[] }>(
            `select distinct array(select unnest(handlers) order by 1) as handlers
             from concordat.reactor_partitions where owner is not null order by 1`,
          )
          return rows.map(({ handlers }) => handlers.join('+')).join(' ')
        }
        await until(working, (found) => found === 'both+y x')
        await commitAnd(['x', 'y', 'both'])
        await second.stop()
        await until(working, (found) => found === 'both+x')
        await commitAnd(['x', 'both'])
        const position = new Map(ids.map((id, i) => [id, i]))
        for (const seen of Object.values(heard)) {
          expect(new Set(seen).size).toBe(seen.length)
          for (let run = 0; run < some.length; run++) {
            const own = seen.map((id) => position.get(id) ?? -1).filter((at) => at % some.length === run)
            expect(own).toEqual(own.toSorted((a, b) => a - b))
          }
        }
      },
    )

    promises('may be started and stopped twice', async (world) => {
      const reactor = await world.reactor()
      const { heard, handle } = hearing()
      reactor.on('run.started', handle)
      expect(reactor.state).toBe('STOPPED')
      await Promise.all([reactor.startBackground(), reactor.startBackground()])
      expect(reactor.state).toBe('RUNNING')
      await Promise.all([reactor.stop(), reactor.stop()])
      expect(reactor.state).toBe('STOPPED')
      const running = reactor.start()
      await until(
        () => reactor.state,
        (state) => state === 'RUNNING',
      )
      await world.commit(runs(3))
      await untilHeard(heard, 3)
      await reactor.stop()
      await running
    })
  })
}
