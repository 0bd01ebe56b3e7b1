import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AppError } from '../../src/foundation/app-error.ts'
import { FakeClock } from '../../src/foundation/clock.ts'
import { createMetrics } from '../../src/foundation/metrics.ts'
import { SteeredDatabase } from '../../src/testing/testing.ts'
import { describeOnPostgres } from '../support/servers.ts'
import { dieAfter, dieBefore, newId, OutboxWorld, type Treatment, take } from './outbox-world.ts'

const WAIT = { interval: 20 }
const runs = (count: number) => Array.from({ length: count }, newId)

describeOnPostgres('the relay', (server) => {
  let world: OutboxWorld
  beforeEach(async () => {
    world = await OutboxWorld.onPostgres(server)
  })
  afterEach(() => world.close())

  it('publishes what was committed, in order per run, and marks it', async () => {
    await world.startRelay(take, { leaseMs: 60_000 }) // one that runs out makes the next one publish again
    const some = runs(50)
    for (let i = 0; i < 10; i++) await world.commit(some)
    await world.untilPublished()
    await world.expectPromisesKept()
    expect(world.delivered, 'nothing twice').toHaveLength(1_000)
  })

  it('publishes at once what it is nudged about', async () => {
    const relay = await world.startRelay(take, { pollMs: 3_600_000, leaseMs: 3_600_000 }) // it looks by itself once
    await expect.poll(() => world.shares(), WAIT).toEqual([16])
    for (let i = 0; i < 5; i++) {
      const had = world.delivered.length
      await world.commit([newId()])
      relay.nudge()
      await expect.poll(() => world.delivered.length, { interval: 2 }).toBe(had + 2)
    }
  })

  it('publishes nothing of a transaction that was rolled back', async () => {
    await world.startRelay()
    const refuse = async () => {
      throw new Error('no')
    }
    await expect(world.commit(runs(10), refuse)).rejects.toThrow('no')
    await world.commit([newId()])
    await world.untilPublished()
    await world.expectPromisesKept()
  })

  it('publishes a row that is committed long after others with a higher id', async () => {
    await world.startRelay()
    const late = newId()
    const end = Promise.withResolvers<void>()
    const appended = Promise.withResolvers<void>()
    const transaction = world.commit([late], () => {
      appended.resolve()
      return end.promise
    })
    await appended.promise
    for (let i = 0; i < 30; i++) await world.commit(runs(20))
    await expect.poll(() => world.delivered.length, WAIT).toBe(1_200)
    end.resolve()
    await transaction
    await world.commit([late])
    await world.untilPublished()
    await world.expectPromisesKept()
  })

  it('publishes a row that is committed late, also when nothing else happens meanwhile', async () => {
    await world.startRelay()
    await world.commit([newId()])
    await world.untilPublished()
    await world.commit([newId()], () => delay(1_000))
    await world.untilPublished()
    await world.expectPromisesKept()
  })

  it('goes on at the next positions after a restart', async () => {
    const relay = await world.startRelay()
    const some = runs(20)
    await world.commit(some)
    await world.untilPublished()
    await relay.stop()
    await world.commit(some)
    expect(await world.unpublished()).toBe(20)
    await relay.start()
    await world.untilPublished()
    await world.expectPromisesKept()
  })

  it('publishes what is there before it stops', async () => {
    const relay = await world.startRelay()
    await expect.poll(() => world.shares(), WAIT).toEqual([16])
    for (let i = 0; i < 5; i++) await world.commit(runs(400))
    await relay.stop()
    expect(await world.unpublished()).toBe(0)
    expect(await world.shares()).toEqual([])
    await world.expectPromisesKept()
  })

  it('reads no more than it publishes, however wrong the statistics are', async () => {
    const reads = async () => {
      const [row] = await world.database.query<{ sequential: number; fetched: number; updated: number }>(
        `select seq_tup_read::int as sequential, idx_tup_fetch::int as fetched, n_tup_upd::int as updated
           from pg_stat_user_tables where relname = 'outbox'`,
      )
      return row ?? { sequential: 0, fetched: 0, updated: 0 }
    }
    const early = await world.startRelay()
    await world.commit(runs(10))
    await expect.poll(() => world.delivered.length, WAIT).toBe(20)
    await world.end(early)
    await expect.poll(async () => (await reads()).updated, WAIT).toBe(10)
    await world.database.query('vacuum analyze concordat.outbox') // a tiny table with nothing to publish
    for (let i = 0; i < 20; i++) await world.commit(runs(400))
    const before = await reads()

    const late = await world.startRelay()
    await expect.poll(() => world.delivered.length, WAIT).toBe(16_020)
    await world.end(late)
    await expect.poll(async () => (await reads()).updated, WAIT).toBe(8_010)
    const after = await reads()
    expect(after.sequential - before.sequential).toBe(0)
    expect(after.fetched - before.fetched).toBeLessThan(3 * 8_000)
  })

  describe('with others', () => {
    it('shares the partitions, and takes all when the others stop', async () => {
      const relays = [await world.startRelay(), await world.startRelay(), await world.startRelay()]
      await expect.poll(async () => Math.max(...(await world.shares())), WAIT).toBe(6)
      expect(await world.shares()).toHaveLength(3)
      for (let i = 0; i < 10; i++) await world.commit(runs(50))
      await world.untilPublished()
      await relays[0]?.stop()
      await relays[2]?.stop()
      await expect.poll(() => world.shares(), WAIT).toEqual([16])
      await world.commit(runs(50))
      await world.untilPublished()
      await world.expectPromisesKept()
    })

    it.each([
      ['before it published', dieBefore],
      ['between publishing and marking', dieAfter],
    ])('takes over from one that died %s: the same events at the same positions', async (_, death) => {
      const some = runs(40)
      await world.commit(some)
      await world.commit(some)
      await world.startRelay(death)
      await expect.poll(() => world.shares(), WAIT).toEqual([16])
      await world.commit(some)
      await world.startRelay()
      await world.untilPublished()
      await world.expectPromisesKept()
    })

    it('keeps the positions of what a dead one published, whatever is committed before its successor looks', async () => {
      const late = runs(100)
      const end = Promise.withResolvers<void>()
      const appended = Promise.withResolvers<void>()
      const transaction = world.commit(late, () => {
        appended.resolve()
        return end.promise
      })
      await appended.promise
      await world.commit(runs(100))
      const dead = await world.startRelay(dieAfter)
      await expect.poll(() => world.delivered.length, WAIT).toBe(200)
      end.resolve()
      await transaction
      world.bury(dead)
      await world.startRelay()
      await world.untilPublished()
      await world.expectPromisesKept()
    })

    it('drops what one has chosen that does not know that its lease ran out', async () => {
      const frozen = new FakeClock() // by which no lease ever has to be renewed, nor runs out
      await world.startRelay(take, { clock: frozen })
      await expect.poll(() => world.shares(), WAIT).toEqual([16])
      await expect.poll(() => world.shares(), WAIT).toEqual([])
      await world.startRelay(take, { leaseMs: 60_000 })
      await expect.poll(() => world.shares(), WAIT).toEqual([16])
      for (let i = 0; i < 6; i++) {
        await world.commit(runs(20))
        await world.untilPublished()
      }
      await world.expectPromisesKept()
      expect(world.delivered, 'nothing twice').toHaveLength(240)
    })

    it('is held up by none that stands still in the middle of a turn', async () => {
      const database = new SteeredDatabase(await world.connect())
      const reached = Promise.withResolvers<void>()
      const resumed = Promise.withResolvers<void>()
      database.intercept(({ statement, before }) => {
        if (statement !== 'commit' || !before.includes('relay_store_places')) return
        reached.resolve()
        return resumed.promise
      })
      await world.commit(runs(30))
      await world.startRelay(take, { database })
      await reached.promise
      await world.startRelay()
      await world.untilPublished().finally(resumed.resolve)
      await world.commit(runs(30))
      await world.untilPublished()
      await world.expectPromisesKept()
    })

    it.each([
      ['relay_leases_take', 1],
      ['relay_leases_renew', 3],
    ])('is held up by none that stands still while it shares partitions out: after %s', async (statement, times) => {
      const database = new SteeredDatabase(await world.connect())
      const reached = Promise.withResolvers<void>()
      const resumed = Promise.withResolvers<void>()
      let sent = 0
      database.intercept((call) => {
        if (call.statement === statement) sent++
        else if (sent >= times) {
          reached.resolve()
          return resumed.promise
        }
      })
      await world.startRelay(take, { database })
      await reached.promise
      await world.startRelay()
      await world.commit(runs(30))
      await world.untilPublished().finally(resumed.resolve)
      await world.commit(runs(30))
      await world.untilPublished()
      await world.expectPromisesKept()
    })

    it('lets one that stood still past its lease change nothing', async () => {
      const woken = Promise.withResolvers<void>()
      let stood = false
      const standStill: Treatment = async (events, deliver) => {
        if (!stood) {
          stood = true
          await woken.promise
        }
        deliver(events)
      }
      const some = runs(30)
      await world.commit(some)
      await world.startRelay(standStill)
      await expect.poll(() => stood, WAIT).toBe(true)
      await world.startRelay()
      await world.untilPublished()
      await world.commit(some)
      await world.untilPublished()
      woken.resolve()
      for (let i = 0; i < 10; i++) await world.commit(some)
      await world.untilPublished()
      await expect.poll(() => world.shares(), WAIT).toEqual([8, 8])
      await world.expectPromisesKept()
    })
  })

  describe('in trouble', () => {
    it('keeps events in the outbox while the bus is away, says so in the metrics, and loses none', async () => {
      let isAway = true
      const bus: Treatment = async (events, deliver) => {
        if (isAway) throw new AppError('BUS_UNREACHABLE', 'away')
        deliver(events)
      }
      await world.commit(runs(800))
      await world.database.query(`update concordat.outbox set created_at = created_at - interval '5 s'`)
      const metrics = createMetrics()
      await world.startRelay(bus, { metrics })
      await expect.poll(() => metrics.text(), WAIT).toMatch(/concordat_outbox_backlog 1600\n/)
      expect(await metrics.text()).toMatch(/concordat_outbox_oldest_seconds [5-9]/)
      await world.commit(runs(100))
      expect(await world.shares(), 'the lease is kept').toEqual([16])
      isAway = false
      await world.untilPublished()
      await world.expectPromisesKept()
    })

    it('publishes again what the bus took only a part of', async () => {
      let calls = 0
      const half: Treatment = async (events, deliver) => {
        if (++calls % 2 === 0) return deliver(events)
        deliver(events.slice(0, events.length / 2))
        throw new AppError('BUS_UNREACHABLE', 'broken off')
      }
      await world.startRelay(half)
      for (let i = 0; i < 5; i++) await world.commit(runs(40))
      await world.untilPublished()
      await world.expectPromisesKept()
    })

    it('goes on after its connections were cut', async () => {
      await world.startRelay()
      const some = runs(30)
      for (let i = 0; i < 10; i++) {
        await world.commit(some)
        await world.database
          .query(`select pg_terminate_backend(pid) from pg_stat_activity
                   where datname = current_database() and pid <> pg_backend_pid() and random() < 0.5`)
          .catch(() => undefined)
      }
      await world.untilPublished()
      await world.expectPromisesKept()
    })

    it('is not confused when rows move between choosing and marking', async () => {
      await world.database.query(
        `insert into concordat.outbox (tenant_id, run_id, partition, event_count, events)
         select 'default', gen_random_uuid(), 0, 1, '[]' from generate_series(1, 500)`,
      )
      await world.commit(runs(60))
      await world.database.query('delete from concordat.outbox where event_count = 1')
      const firstAddress = async () => {
        const [row] = await world.database.query<{ at: string }>(
          'select ctid as at from concordat.outbox order by outbox_id limit 1',
        )
        return row?.at
      }
      const before = await firstAddress()
      let rewrites = 0
      await world.startRelay(async (events, deliver) => {
        deliver(events)
        if (rewrites++ > 0) return
        // As long as anybody may still see the deleted rows, as the server's own upkeep may, they keep their places.
        do await world.database.query('vacuum full concordat.outbox')
        while ((await firstAddress()) === before)
      })
      await world.untilPublished()
      await world.expectPromisesKept()
      expect(world.delivered.length, 'published once more').toBeGreaterThan(120)
    })
  })
})

describe('the relay on the embedded database', () => {
  it('publishes in order, and leaves the session to others in between', async () => {
    const world = await OutboxWorld.embedded()
    await world.startRelay()
    const some = runs(20)
    for (let i = 0; i < 10; i++) await world.commit(some)
    await world.untilPublished()
    await world.expectPromisesKept()
    await world.close()
  })
})
