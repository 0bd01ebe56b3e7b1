import { expect, it } from 'vitest'
import { pruneOutbox } from '../../src/foundation/events/events.ts'
import { describeOnPostgres } from '../support/servers.ts'
import { newId, OutboxWorld } from './outbox-world.ts'

const HOUR_MS = 3_600_000

describeOnPostgres('retention of the outbox', (server) => {
  it('deletes what was published long ago, bit by bit, and never what waits', async () => {
    const world = await OutboxWorld.onPostgres(server)
    const relay = await world.startRelay()
    const runs = Array.from({ length: 400 }, newId)
    for (let i = 0; i < 20; i++) await world.commit(runs)
    await world.untilPublished()
    await relay.stop()
    const { database } = world
    const [{ old } = { old: 0 }] = await database.query<{ old: number }>(
      `with aged as (
         update concordat.relay_batches set published_at = published_at - interval '2 hours'
          where last_outbox_id <= 6000 returning *
       ) select count(*)::int as old from aged a join concordat.outbox o
           on o.partition = a.partition and o.position between a.position and a.position + a.event_count - 1`,
    )
    expect(old).toBeGreaterThan(5_000)
    await database.query(`update concordat.outbox set position = null, published_at = null where outbox_id > 7990`)
    await database.query(`update concordat.outbox set created_at = now() - interval '1 year'`)

    const deleted: number[] = []
    do deleted.push(await pruneOutbox(database, HOUR_MS))
    while (deleted.at(-1) !== 0)
    expect(Math.max(...deleted)).toBeLessThanOrEqual(5_000)
    expect(deleted.reduce((sum, rows) => sum + rows, 0)).toBe(old)
    const rows = await database.query('select 1 from concordat.outbox')
    expect(rows).toHaveLength(8_000 - old)
    expect(await world.unpublished()).toBe(10)
    await world.close()
  })
})
