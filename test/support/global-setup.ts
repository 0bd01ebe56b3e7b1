import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import './servers.ts' // for the type of what is provided
import { startServers } from './start-servers.ts'

/** Gives all test processes the same servers, and stops those that were started when the run ends. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { servers, stop } = await startServers(process.env)
  project.provide('servers', servers)
  return async () => {
    const snapshot = join(tmpdir(), `${servers.databasePrefix}embedded`) // test/flow/support/databases.ts
    for (const suffix of ['', '.lock', '.made']) rmSync(snapshot + suffix, { force: true })
    await stop()
  }
}
