import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { silentLogger } from '../../src/foundation/log.ts'
import { migrate, openDatabase } from '../../src/foundation/storage/storage.ts'
import type { PostgresServer } from './postgres-server.ts'
import { templateName } from './servers.ts'
import { query, startServers } from './start-servers.ts'

/** Gives all test processes the same servers, and stops those that were started when the run ends. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { servers, stop } = await startServers(process.env)
  await Promise.all(servers.postgres.map((server) => createTemplate(server, templateName(servers))))
  project.provide('servers', servers)
  return async () => {
    const snapshot = join(tmpdir(), `${servers.databasePrefix}embedded`) // test/flow/support/databases.ts
    for (const suffix of ['', '.lock', '.made']) rmSync(snapshot + suffix, { force: true })
    await stop()
  }
}

/** A database with the schema, to copy: that takes a fraction of the time that migrating each one would. */
async function createTemplate(server: PostgresServer, name: string): Promise<void> {
  await query(server.url, `create database ${name}`)
  const url = new URL(server.url)
  url.pathname = name
  const database = await openDatabase({ url: url.href, dataDir: '', log: silentLogger })
  await migrate(database)
  await database.close()
}
