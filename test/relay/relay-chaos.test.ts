import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import { it } from 'vitest'
import type { Relay } from '../../src/flow/relay/relay.ts'
import { AppError } from '../../src/foundation/app-error.ts'
import { describeOnPostgres } from '../support/servers.ts'
import { dieAfter, dieBefore, newId, OutboxWorld, type Treatment, take } from './outbox-world.ts'

const WRITERS = 4

const refuse: Treatment = async () => {
  throw new AppError('BUS_UNREACHABLE', 'away')
}
const breakOff: Treatment = async (events, deliver) => {
  deliver(events.slice(0, events.length / 2))
  throw new AppError('BUS_UNREACHABLE', 'broken off')
}
const standStill: Treatment = async (events, deliver) => {
  await delay(700)
  deliver(events)
}

const commits = fc.array(
  fc.record({ runs: fc.integer({ min: 1, max: 5 }), pauseMs: fc.nat(15), isRolledBack: fc.boolean() }),
  { minLength: 80, maxLength: 80, size: 'max' },
)
const treatments = fc.array(fc.constantFrom(take, take, refuse, breakOff, standStill, dieBefore, dieAfter), {
  minLength: 5,
  maxLength: 25,
  size: 'max',
})

describeOnPostgres('relays that die, stand still and lose the bus, while transactions commit late', (server) => {
  it('lose nothing, invent nothing, and keep order and positions', { timeout: 180_000 }, async () => {
    const property = fc.asyncProperty(commits, treatments, async (commits, treatments) => {
      const world = await OutboxWorld.onPostgres(server)
      const script = [...treatments]
      const start = async () => {
        let relay: Relay | undefined
        const treat: Treatment = (events, deliver) => {
          const treatment = script.shift() ?? take
          if (relay && (treatment === dieBefore || treatment === dieAfter)) {
            world.bury(relay)
            void start()
          }
          return treatment(events, deliver)
        }
        relay = await world.startRelay(treat)
      }
      await Promise.all([start(), start()])
      await Promise.all(
        Array.from({ length: WRITERS }, (_, writer) =>
          write(
            world,
            commits.filter((_, i) => i % WRITERS === writer),
          ),
        ),
      )
      await world.untilPublished()
      await world.expectPromisesKept()
      await world.close()
    })
    // A failure prints its seed; to shrink it would repeat it for hours.
    await fc.assert(property, { numRuns: 3, endOnFailure: true })
  })
})

interface Commit {
  readonly runs: number
  readonly pauseMs: number
  readonly isRolledBack: boolean
}

/** The commits of a run come one after the other, those of other runs at the same time. */
async function write(world: OutboxWorld, commits: readonly Commit[]): Promise<void> {
  const runs = Array.from({ length: 5 }, newId)
  for (const { runs: count, pauseMs, isRolledBack } of commits) {
    const end = async () => {
      await delay(pauseMs)
      if (isRolledBack) throw new Error('rolled back')
    }
    await world.commit(runs.slice(0, count), end).catch((error: Error) => {
      if (error.message !== 'rolled back') throw error
    })
  }
}
