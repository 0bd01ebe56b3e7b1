import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, inject, it } from 'vitest'
import type { PostgresServer } from './postgres-server.ts'
import type { RedisServer } from './redis-server.ts'
import { query, type Servers } from './start-servers.ts'

export type { OwnPostgres, PostgresServer } from './postgres-server.ts'
export type { OwnRedis, RedisServer } from './redis-server.ts'
export { startRedis } from './redis-server.ts'

declare module 'vitest' {
  interface ProvidedContext {
    servers: Servers
  }
}

/** The PostgreSQL servers of this run of the tests, oldest first. */
function postgresServers(): readonly PostgresServer[] {
  return inject('servers').postgres
}

/** The Redis of this run. Only when it is `owned` may a test flush it; to restart one, `startRedis()` your own. */
function redisServer(): RedisServer | undefined {
  return inject('servers').redis
}

/** The database with the schema and nothing else that others are copied from. */
export function templateName({ databasePrefix }: Pick<Servers, 'databasePrefix'>): string {
  return `${databasePrefix}template`
}

/**
 * A new database with the schema, or without it (`empty`), and no rows. Drop it when done: connections that are still
 * open are ended.
 */
export async function createDatabase(
  server: PostgresServer,
  { empty = false }: { readonly empty?: boolean } = {},
): Promise<{ url: string; drop(): Promise<void> }> {
  const servers = inject('servers')
  const name = servers.databasePrefix + randomBytes(6).toString('hex')
  await query(server.url, `create database ${name} template ${empty ? 'template1' : templateName(servers)}`)
  const url = new URL(server.url)
  url.pathname = name
  const drop = async (): Promise<void> => {
    await untilLeft(server, name)
    await query(server.url, `drop database if exists ${name} with (force)`)
  }
  return { url: url.href, drop }
}

/** A client that has said goodbye and is told of the end before its connection is closed fails where nobody listens. */
async function untilLeft(server: PostgresServer, database: string): Promise<void> {
  const others = `select from pg_stat_activity where datname = '${database}' limit 1`
  for (let tries = 0; tries < 50 && (await query(server.url, others)).rows.length > 0; tries++) await sleep(20)
}

/** A suite that runs once for each PostgreSQL version; one that is missing on this machine is reported as skipped. */
export function describeOnPostgres(name: string, suite: (server: PostgresServer) => void): void {
  for (const server of postgresServers()) describe(`${name} (PostgreSQL ${server.version})`, () => suite(server))
  describeMissing(name, 'PostgreSQL')
}

/** A suite that needs Redis; without one it is reported as skipped. */
export function describeOnRedis(name: string, suite: (server: RedisServer) => void): void {
  const server = redisServer()
  if (server !== undefined) describe(`${name} (Redis)`, () => suite(server))
  describeMissing(name, 'Redis')
}

/** One skipped test in the place of the suite, with the reason as its note: the skip reporter prints it. */
function describeMissing(name: string, kind: string): void {
  for (const { server, reason } of inject('servers').missing) {
    if (!server.startsWith(kind)) continue
    describe(`${name} (${server})`, () => {
      it('is skipped', (test) => test.skip(`${server} is missing: ${reason}`))
    })
  }
}
