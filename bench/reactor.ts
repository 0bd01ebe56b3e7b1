import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createClient } from '@redis/client'
import Table from 'cli-table3'
import { EventReactor } from '../src/flow/reactor/reactor.ts'
import { createRelay } from '../src/flow/relay/relay.ts'
import { type Bus, createBus } from '../src/foundation/bus/bus.ts'
import { systemClock } from '../src/foundation/clock.ts'
import { appendEvents, EventEnvelope, type EventType } from '../src/foundation/events/events.ts'
import { createIdSource, partitionOf } from '../src/foundation/ids.ts'
import { silentLogger } from '../src/foundation/log.ts'
import { createMetrics } from '../src/foundation/metrics.ts'
import { type Database, migrate, openDatabase } from '../src/foundation/storage/storage.ts'
import { query, startServers } from '../test/support/start-servers.ts'

/*
 * A reactor beside a bare client of the same library that receives the same messages and parses their JSON, in turn, in
 * processes of their own: machines are noisy, so only the ratio of a round and the median over the rounds say anything.
 * On streams all messages are there before; on pub/sub another process publishes them as fast as it can.
 *
 *     node bench/reactor.ts [--rounds 5] [--events 40000] [--transport redis-pubsub]
 *
 * There is no outbox behind it, where a reactor finds what it has no room for when it comes: so many events at the most.
 * The last line of each transport is the whole path instead: the events wait in the outbox, a relay and a reactor with a
 * handler that does nothing share one process, and what is counted is events a second from the relay's start on.
 */
type Transport = 'redis-streams' | 'redis-pubsub'
type Who = 'bare' | 'no-op' | 'writes' | 'whole path'

const EVENTS_MAX = { 'redis-streams': 40_000, 'redis-pubsub': 15_000 } as const
const PREFIX = `concordat-bench-${process.pid}`

function option(name: string, fallback: number): number {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? fallback : Number(process.argv[at + 1])
}

function openBus(transport: Transport, url: string, prefix: string): Promise<Bus> {
  const channel = `${prefix}.events`
  return transport === 'redis-streams'
    ? createBus({ transport, url, channel, streamPrefix: `${prefix}:events:`, log: silentLogger })
    : createBus({ transport, url, channel, log: silentLogger })
}

/** Events as runs make them: some of each run, of the usual size. */
function* eventsOf(count: number): Generator<EventEnvelope> {
  const newId = createIdSource()
  const positions = new Map<number, number>()
  let runId = newId()
  const types = ['run.created', 'run.started', 'trace.started', 'policy.evaluated', 'trace.completed', 'run.completed']
  for (let i = 0; i < count; i++) {
    if (i % types.length === 0) runId = newId()
    const partition = partitionOf(runId)
    const position = (positions.get(partition) ?? 0) + 1
    positions.set(partition, position)
    const type = types[i % types.length] as string
    const data = {
      agent: 'triage',
      status: 'succeeded',
      reason: null,
      steps: 5,
      tokensIn: 1_200,
      tokensOut: 300,
      costUsd: 0.012,
    }
    yield new EventEnvelope({
      id: newId(),
      type,
      time: new Date().toISOString(),
      runId,
      tenantId: 'default',
      partition,
      position,
      data,
    })
  }
}

/** The events as runs commit them: those of a run in one row. */
async function fillOutbox(database: Database, count: number): Promise<void> {
  const byRun = Map.groupBy(eventsOf(count), ({ runId }) => runId)
  const entries = [...byRun].map(([runId, own]) => {
    const events = own.map(({ id, type, time, data }) => ({ id, type: type as EventType, time, data }))
    return { tenantId: 'default', runId, events }
  })
  for (let i = 0; i < entries.length; i += 500) {
    await database.transaction((tx) => appendEvents(tx, entries.slice(i, i + 500)))
  }
}

async function publish(bus: Bus, count: number): Promise<void> {
  let batch: EventEnvelope[] = []
  for (const event of eventsOf(count)) {
    if (batch.push(event) < 500) continue
    await bus.publish(batch)
    batch = []
  }
  await bus.publish(batch)
}

/** Counts events, and resolves when all are there. */
function meter(count: number) {
  const { promise, resolve } = Promise.withResolvers<{ seconds: number; cpuMs: number }>()
  let seen = 0
  let startedMs = 0
  let cpu = process.cpuUsage()
  return {
    done: promise,
    begin: () => {
      if (startedMs > 0) return
      startedMs = performance.now()
      cpu = process.cpuUsage()
    },
    see: () => {
      if (seen++ === 0 && startedMs === 0) {
        startedMs = performance.now()
        cpu = process.cpuUsage()
      }
      if (seen !== count) return
      const { user, system } = process.cpuUsage(cpu)
      resolve({ seconds: (performance.now() - startedMs) / 1_000, cpuMs: (user + system) / 1_000 })
    },
  }
}

/** A client that receives and parses, no more. */
async function runBare(transport: Transport, redisUrl: string, prefix: string, count: number, ready: () => void) {
  const client = createClient({ url: redisUrl })
  client.on('error', () => {})
  await client.connect()
  const { done, see, begin } = meter(count)
  let checksum = 0
  const take = (text: string) => {
    const event = JSON.parse(text) as { type: string }
    checksum += event.type.length
    see()
  }
  if (transport === 'redis-pubsub') {
    await client.subscribe(`${prefix}.events`, take)
    ready()
  } else {
    ready()
    begin()
    const last = new Map(Array.from({ length: 16 }, (_, p) => [`${prefix}:events:${p}`, '0']))
    for (let left = count; left > 0; ) {
      const command = ['XREAD', 'COUNT', '500', 'STREAMS', ...last.keys(), ...last.values()]
      const found = (await client.sendCommand(command)) as Record<string, (readonly [string, string[]])[]> | null
      for (const [name, entries] of Object.entries(found ?? {})) {
        for (const [id, fields] of entries) {
          for (let i = 1; i < fields.length; i += 2) take(fields[i] as string) // up to ten events an entry
          last.set(name, id)
          left -= fields.length / 2
        }
      }
    }
  }
  const figures = await done
  client.destroy()
  return { ...figures, checksum }
}

async function runReactor(
  who: Who,
  transport: Transport,
  urls: Urls,
  prefix: string,
  count: number,
  ready: () => void,
) {
  const database = await openDatabase({ url: urls.postgres, dataDir: '', log: silentLogger })
  const bus = await openBus(transport, urls.redis, prefix)
  await bus.start()
  const { done, see, begin } = meter(count)
  const reactor = new EventReactor({
    database,
    bus,
    clock: systemClock,
    log: silentLogger,
    metrics: createMetrics(),
    newId: createIdSource(),
    random: Math.random,
    process: 'bench',
    leaseMs: 10_000,
    drainTimeoutMs: 10_000,
    heartbeatIntervalMs: 30_000,
    heartbeatMissThreshold: 3,
  })
  const insert = { name: 'bench_insert', text: 'insert into effects (event_id) values ($1)' }
  if (who !== 'writes') reactor.on('*', see, { name: 'no-op' })
  else {
    reactor.on(
      '*',
      async (event, { tx }) => {
        await tx.query(insert, [event.id])
        see()
      },
      { name: 'writes', transactional: true },
    )
  }
  await reactor.startBackground()
  if (transport === 'redis-streams' || who === 'whole path') begin() // as the bare client, when it is connected
  const common = { database, bus, clock: systemClock, log: silentLogger, metrics: createMetrics(), random: Math.random }
  const relay = createRelay({ ...common, ownerId: createIdSource()(), leaseMs: 10_000 })
  if (who === 'whole path') await relay.start()
  ready()
  const figures = await done
  await relay.stop()
  await reactor.stop()
  await bus.stop()
  await database.close()
  return figures
}

interface Urls {
  readonly redis: string
  readonly postgres: string
}

/** One measurement, in a process of its own. */
async function measure(who: Who, transport: Transport, urls: Urls, round: number, count: number) {
  const name = `concordat_bench_${process.pid}`
  const prefix = `${PREFIX}-${who}-${transport}-${round}`
  await query(urls.postgres, `drop database if exists ${name} with (force)`)
  await query(urls.postgres, `create database ${name}`)
  const url = new URL(urls.postgres)
  url.pathname = name
  const database = await openDatabase({ url: url.href, dataDir: '', log: silentLogger })
  await migrate(database)
  await database.query('create table effects (event_id uuid)')
  const isWhole = who === 'whole path'
  if (isWhole) await fillOutbox(database, count)
  // Redis has what the relay is about to mark: reactors take no event whose place it has not given away.
  else await database.query(`update concordat.relay_partitions set in_flight = array(select generate_series(1, 10000))`)
  await database.close()
  const bus = await openBus(transport, urls.redis, prefix)
  await bus.start()
  if (transport === 'redis-streams' && !isWhole) await publish(bus, count)
  const args = [fileURLToPath(import.meta.url), 'measure', who, transport, prefix, String(count), urls.redis, url.href]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  let published: Promise<void> | undefined
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk
    if (transport === 'redis-pubsub' && !isWhole && output.includes('ready')) published ??= publish(bus, count)
  })
  await once(child, 'exit')
  await published
  const keys = Array.from({ length: 16 }, (_, partition) => `${prefix}:events:${partition}`)
  const client = await createClient({ url: urls.redis }).connect()
  await client.del(keys)
  client.destroy()
  await bus.stop()
  await query(urls.postgres, `drop database if exists ${name} with (force)`)
  const figures = JSON.parse(output.split('\n').findLast((line) => line.startsWith('{')) ?? '{}') as {
    seconds: number
    cpuMs: number
  }
  return { perSecond: count / figures.seconds, cpuUs: (figures.cpuMs * 1_000) / count }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

if (process.argv[2] === 'measure') {
  const [who, transport, prefix = '', count, redis = '', postgres = ''] = process.argv.slice(3) as [
    Who,
    Transport,
    ...string[],
  ]
  const ready = () => process.stdout.write('ready\n')
  const figures =
    who === 'bare'
      ? await runBare(transport, redis, prefix, Number(count), ready)
      : await runReactor(who, transport, { redis, postgres }, prefix, Number(count), ready)
  process.stdout.write(`${JSON.stringify(figures)}\n`)
} else {
  const rounds = option('rounds', 3)
  const asked = process.argv[process.argv.indexOf('--transport') + 1]
  const transports = (['redis-streams', 'redis-pubsub'] as const).filter(
    (name) => !process.argv.includes('--transport') || name === asked,
  )
  const { servers, stop } = await startServers(process.env)
  const postgres = servers.postgres.find((server) => server.version === 15) ?? servers.postgres[0]
  if (!postgres || !servers.redis) throw new Error('the benchmark needs PostgreSQL and Redis')
  const urls = { redis: servers.redis.url, postgres: postgres.url }
  const table = new Table({
    head: ['median of the rounds', 'events/s', 'of the bare client', 'CPU µs/event', 'of the bare client'],
  })
  try {
    for (const transport of transports) {
      const count = Math.min(option('events', EVENTS_MAX[transport]), EVENTS_MAX[transport])
      const rows = new Map<Who, { perSecond: number; share: number; cpuUs: number; cpuShare: number }[]>()
      for (let round = 1; round <= rounds; round++) {
        process.stderr.write(`${transport}, ${count} events, round ${round} of ${rounds}\n`)
        const bare = await measure('bare', transport, urls, round, count)
        for (const who of ['bare', 'no-op', 'writes', 'whole path'] as const) {
          const figures = who === 'bare' ? bare : await measure(who, transport, urls, round, count)
          const share = figures.perSecond / bare.perSecond
          rows.set(who, [...(rows.get(who) ?? []), { ...figures, share, cpuShare: figures.cpuUs / bare.cpuUs }])
        }
      }
      for (const [who, found] of rows) {
        const of = (pick: (row: (typeof found)[number]) => number) => median(found.map(pick))
        table.push([
          `${transport}, ${who}`,
          Math.round(of((row) => row.perSecond)),
          of((row) => row.share).toFixed(2),
          of((row) => row.cpuUs).toFixed(1),
          of((row) => row.cpuShare).toFixed(2),
        ])
      }
    }
  } finally {
    await stop()
  }
  process.stdout.write(`${table}\n`)
}
