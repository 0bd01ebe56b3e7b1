import { expect, it } from 'vitest'
import { createBus } from '../../src/foundation/bus/bus.ts'
import type { EventEnvelope } from '../../src/foundation/events/events.ts'
import { partitionOf } from '../../src/foundation/ids.ts'
import { silentLogger } from '../../src/foundation/log.ts'
import { type Database, migrate, openDatabase } from '../../src/foundation/storage/storage.ts'
import { createDatabase, describeOnPostgres, type PostgresServer } from '../support/servers.ts'
import { describeBus } from './bus-suite.ts'
import { eventSource, newId } from './sample-events.ts'

async function openNewDatabase(server: PostgresServer): Promise<{ database: Database; drop(): Promise<void> }> {
  const { url, drop } = await createDatabase(server)
  const database = await openDatabase({ url, dataDir: '', log: silentLogger })
  await migrate(database)
  const close = async () => {
    await database.close()
    await drop()
  }
  return { database, drop: close }
}

/** Puts events where the relay leaves them: in rows that are marked; `perRow` of a run share a row. */
async function markAsPublished(database: Database, events: readonly EventEnvelope[], perRow = 1): Promise<void> {
  await database.transaction(async (tx) => {
    const writes: Promise<unknown>[] = []
    for (let i = 0; i < events.length; i += perRow) {
      const row = events.slice(i, i + perRow)
      const [{ tenantId, runId, partition, position }] = row as [EventEnvelope]
      const texts = JSON.stringify(row.map(({ id, type, time, data }) => ({ id, type, time, data })))
      writes.push(
        tx.query(
          `insert into concordat.outbox (tenant_id, run_id, partition, event_count, events, position, published_at)
           values ($1, $2, $3, $4, $5, $6, now())`,
          [tenantId, runId, partition, row.length, texts, position],
        ),
        tx.query(
          `insert into concordat.relay_batches (partition, position, event_count, first_outbox_id, last_outbox_id)
           select partition, position, event_count, outbox_id, outbox_id from concordat.outbox
            where partition = $1 and position = $2`,
          [partition, position],
        ),
        tx.query('update concordat.relay_partitions set next_position = $2 where partition = $1', [
          partition,
          position + row.length,
        ]),
      )
    }
    await Promise.all(writes)
  })
}

describeOnPostgres('on', (server) => {
  describeBus('postgres', async () => {
    const { database, drop } = await openNewDatabase(server)
    return {
      open: () => createBus({ transport: 'postgres', database, log: silentLogger }),
      publish: async (bus, events) => {
        await bus.publish(events)
        await markAsPublished(database, events)
        bus.nudge()
      },
      close: drop,
    }
  })

  it('a postgres bus goes on after any position, also one in the middle of a row', async () => {
    const { database, drop } = await openNewDatabase(server)
    const bus = await createBus({ transport: 'postgres', database, log: silentLogger })
    await bus.start()
    const runId = newId()
    const make = eventSource()
    const events = Array.from({ length: 12 }, () => make(runId))
    await markAsPublished(database, events, 4)
    const heard: number[] = []
    const after = new Map([[partitionOf(runId), 6]])
    await bus.subscribe((event) => void heard.push(event.position), { after })
    await expect.poll(() => heard).toEqual([7, 8, 9, 10, 11, 12])
    await bus.stop()
    await drop()
  })
})
