import { randomBytes } from 'node:crypto'
import { startRedis } from '../support/redis-server.ts'
import { query, startServers } from '../support/start-servers.ts'
import { killReactors } from './kill-reactors.ts'

/*
 * 200,000 events, three reactor processes, two of them killed, Redis restarted once:
 *
 *     npm run torture:reactors [-- EVENTS]
 */
const events = Number(process.argv[2] ?? 200_000)
const say = (line: string) => void process.stderr.write(`${line}\n`)
const { servers, stop } = await startServers(process.env)
const postgres = servers.postgres[0]
if (!postgres) throw new Error('no PostgreSQL')
try {
  for (const transport of ['redis-streams', 'redis-pubsub'] as const) {
    const name = `concordat_torture_${randomBytes(4).toString('hex')}`
    await query(postgres.url, `create database ${name}`)
    const url = new URL(postgres.url)
    url.pathname = name
    const startedMs = performance.now()
    const wrong = await killReactors({
      databaseUrl: url.href,
      redis: await startRedis(),
      restart: (port) => startRedis({ port }),
      transport,
      events,
      patienceMs: 600_000,
      say,
    })
    await query(postgres.url, `drop database if exists ${name} with (force)`)
    const seconds = ((performance.now() - startedMs) / 1_000).toFixed(0)
    process.stdout.write(
      `${transport}: ${events} events in ${seconds} s, ${wrong.length === 0 ? 'nothing wrong' : wrong.join('; ')}\n`,
    )
    if (wrong.length > 0) process.exitCode = 1
  }
} finally {
  await stop()
}
