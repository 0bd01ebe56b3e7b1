import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, describe, inject } from 'vitest'
import {
  createTestRuntime,
  embeddedSnapshot,
  type TestRuntime,
  type TestRuntimeOptions,
} from '../../../src/testing/testing.ts'
import { createDatabase, describeOnPostgres } from '../../support/servers.ts'

const SNAPSHOT_POLL_MS = 50

/** Opens a runtime on a new database of the kind that the suite runs on. It is closed, and the database gone, afterwards. */
export type OpenRuntime = (options?: Omit<TestRuntimeOptions, 'databaseUrl' | 'snapshot'>) => Promise<TestRuntime>

/** A suite that runs on the embedded database and on each version of PostgreSQL: one behaviour on all. */
export function describeOnDatabases(name: string, suite: (open: OpenRuntime) => void): void {
  describe(`${name} (embedded)`, () => {
    const { closeLater } = closing()
    suite(async (options) => closeLater(await createTestRuntime({ ...options, snapshot: await sharedSnapshot() })))
  })
  describeOnPostgres(name, (server) => {
    const { closeLater, later } = closing()
    suite(async (options) => {
      const { url, drop } = await createDatabase(server)
      later(drop)
      return closeLater(await createTestRuntime({ ...options, databaseUrl: url }))
    })
  })
}

/** What a suite opens is closed at its end, the newest first. */
export function closing() {
  const pending: (() => Promise<void>)[] = []
  const later = (close: () => Promise<void>) => {
    pending.push(close)
  }
  const closeLater = <T extends { close(): Promise<void> }>(opened: T): T => {
    later(() => opened.close())
    return opened
  }
  afterAll(async () => {
    for (const close of pending.toReversed()) await close()
  })
  return { later, closeLater }
}

/** Made by the first test process that needs it, for all of this run of the tests. Its end removes it. */
export async function sharedSnapshot(): Promise<Blob> {
  const path = join(tmpdir(), `${inject('servers').databasePrefix}embedded`)
  if (isFirst(`${path}.lock`)) {
    writeFileSync(`${path}.made`, Buffer.from(await (await embeddedSnapshot()).arrayBuffer()))
    renameSync(`${path}.made`, path)
  }
  while (!existsSync(path)) await pause(SNAPSHOT_POLL_MS)
  return new Blob([readFileSync(path)])
}

/** Two that make one at the same time take twice as long each. */
function isFirst(lock: string): boolean {
  try {
    writeFileSync(lock, '', { flag: 'wx' })
    return true
  } catch {
    return false
  }
}
