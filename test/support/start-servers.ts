import { randomBytes } from 'node:crypto'
import pg from 'pg'
import {
  type OwnPostgres,
  type PostgresOptions,
  type PostgresServer,
  startableVersions,
  startPostgres,
} from './postgres-server.ts'
import { isReachable, type RedisServer, startRedis } from './redis-server.ts'

/** The servers that a run of the tests uses, and why one is missing. Plain data: it is handed to the test processes. */
export type Servers = {
  /** One for each of 15 and 18, and the given one if it is of yet another version. */
  postgres: PostgresServer[]
  redis: RedisServer | undefined
  missing: { server: string; reason: string }[]
  /** Names the databases of this run, so that none is left on a server that was given. */
  databasePrefix: string
}

const oldestVersion = startableVersions[0] ?? 15

/**
 * Finds the servers that are given (`DATABASE_URL`, `REDIS_URL`, else localhost) and starts those that are missing.
 * Fails when a variable names a server that can't be used; one that can't be started is reported as missing.
 */
export async function startServers(
  env: NodeJS.ProcessEnv,
  options: PostgresOptions = {},
): Promise<{ servers: Servers; stop(): Promise<void> }> {
  const [given, givenRedis] = await Promise.all([givenPostgres(env), givenRedisUrl(env)])
  const servers: Servers = {
    postgres: given === undefined ? [] : [given],
    redis: givenRedis === undefined ? undefined : { url: givenRedis, owned: false },
    missing: [],
    databasePrefix: `concordat_test_${randomBytes(4).toString('hex')}_`,
  }
  const stops: (() => Promise<void>)[] = []
  const start = async <T extends { stop(): Promise<void> }>(server: string, starting: Promise<T>) => {
    try {
      const started = await starting
      stops.push(() => started.stop())
      return started
    } catch (error) {
      servers.missing.push({ server, reason: error instanceof Error ? error.message : String(error) })
      return undefined
    }
  }
  const versions = startableVersions.filter((version) => version !== given?.version)
  const [redis, ...postgres] = await Promise.all([
    servers.redis === undefined ? start('Redis', startRedis()) : undefined,
    ...versions.map((version) => start(`PostgreSQL ${version}`, startPostgres(version, options))),
  ])
  if (redis !== undefined) servers.redis = { url: redis.url, owned: redis.owned }
  const started = postgres.filter((server): server is OwnPostgres => server !== undefined)
  servers.postgres.push(...started.map(({ version, url }) => ({ version, url })))
  servers.postgres.sort((a, b) => a.version - b.version)
  const stop = async (): Promise<void> => {
    if (given !== undefined) await dropDatabases(given, servers.databasePrefix)
    await Promise.all(stops.map((stop) => stop()))
  }
  return { servers, stop }
}

async function givenPostgres(env: NodeJS.ProcessEnv): Promise<PostgresServer | undefined> {
  if (env.DATABASE_URL) {
    const { version, mayCreateDatabases } = await inspect(env.DATABASE_URL).catch((cause: Error) => {
      throw new Error(`DATABASE_URL can't be used: ${cause.message}`, { cause })
    })
    if (version < oldestVersion)
      throw new Error(`DATABASE_URL is PostgreSQL ${version}; ${oldestVersion} is the oldest`)
    if (!mayCreateDatabases) throw new Error('DATABASE_URL names a user who may not create databases')
    return { version, url: env.DATABASE_URL }
  }
  const url = 'postgres://postgres@localhost:5432/postgres'
  if (!(await isReachable(url, 5432))) return undefined
  // Whatever it is that listens there: what we can't use is as good as absent.
  const found = await inspect(url).catch(() => undefined)
  return found?.mayCreateDatabases && found.version >= oldestVersion ? { version: found.version, url } : undefined
}

async function givenRedisUrl(env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const url = env.REDIS_URL || 'redis://localhost:6379'
  if (await isReachable(url, 6379)) return url
  if (env.REDIS_URL) throw new Error("REDIS_URL can't be used: nothing answers there")
  return undefined
}

async function inspect(url: string): Promise<{ version: number; mayCreateDatabases: boolean }> {
  const { rows } = await query<{ number: string; may: boolean }>(
    url,
    `select current_setting('server_version_num') as number, rolcreatedb or rolsuper as may
       from pg_roles where rolname = current_user`,
  )
  const row = rows[0]
  return { version: Math.floor(Number(row?.number) / 10_000), mayCreateDatabases: row?.may === true }
}

async function dropDatabases(server: PostgresServer, prefix: string): Promise<void> {
  const { rows } = await query<{ datname: string }>(
    server.url,
    `select datname from pg_database where starts_with(datname, '${prefix}')`,
  )
  for (const { datname } of rows) await query(server.url, `drop database if exists ${datname} with (force)`)
}

/** Runs one statement on a connection of its own. */
export async function query<Row extends pg.QueryResultRow>(url: string, sql: string): Promise<pg.QueryResult<Row>> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 })
  client.on('error', () => undefined) // the statement's promise reports it
  await client.connect()
  try {
    return await client.query<Row>(sql)
  } finally {
    await client.end()
  }
}
