import { EventReactor } from '../../src/flow/reactor/reactor.ts'
import { createBus } from '../../src/foundation/bus/bus.ts'
import { systemClock } from '../../src/foundation/clock.ts'
import { createIdSource } from '../../src/foundation/ids.ts'
import { silentLogger } from '../../src/foundation/log.ts'
import { createMetrics } from '../../src/foundation/metrics.ts'
import { openDatabase } from '../../src/foundation/storage/storage.ts'
import { tellReady } from './tell-ready.ts'

/* A reactor process to be killed: its one handler writes a row for each event. Says `ready` when it runs. */

const [databaseUrl = '', redisUrl = '', transport = 'redis-streams'] = process.argv.slice(2)
const database = await openDatabase({ url: databaseUrl, dataDir: '', log: silentLogger })
const bus = await createBus({ transport: transport as 'redis-streams', url: redisUrl, log: silentLogger })
await bus.start()
const reactor = new EventReactor({
  database,
  bus,
  clock: systemClock,
  log: silentLogger,
  metrics: createMetrics(),
  newId: createIdSource(),
  random: Math.random,
  process: `test:${process.pid}`,
  leaseMs: 2_000,
  drainTimeoutMs: 2_000,
  heartbeatIntervalMs: 30_000,
  heartbeatMissThreshold: 3,
})
reactor.on(
  '*',
  (event, { tx }) =>
    tx.query('insert into effects (handler, run_id, event_id) values ($1, $2, $3)', [
      process.pid,
      event.runId,
      event.id,
    ]),
  { name: 'written', transactional: true },
)
process.on('SIGTERM', async () => {
  await reactor.stop()
  await bus.stop()
  await database.close()
})
await reactor.startBackground()
tellReady()
