import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { silentLogger } from '../../src/foundation/log.ts'
import { migrate, openDatabase } from '../../src/foundation/storage/storage.ts'
import type { PostgresServer } from './postgres-server.ts'
import { templateName } from './servers.ts'
import { query, startServers } from './start-servers.ts'
import { useMemoryForTemporaryFiles } from './temporary-folder.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** For what one test process makes and all of this run use. */
    sharedFolder: string
  }
}

/** Gives all test processes the same servers, and stops those that were started when the run ends. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const removeTemporaryFiles = useMemoryForTemporaryFiles()
  const sharedFolder = mkdtempSync(join(tmpdir(), 'concordat-shared-'))
  const { servers, stop } = await startServers(process.env, { fsync: false })
  await Promise.all(servers.postgres.map((server) => createTemplate(server, templateName(servers))))
  project.provide('servers', servers)
  project.provide('sharedFolder', sharedFolder)
  return async () => {
    await stop()
    rmSync(sharedFolder, { recursive: true, force: true })
    removeTemporaryFiles()
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
