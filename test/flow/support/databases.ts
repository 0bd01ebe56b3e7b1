import { afterAll, describe } from 'vitest'
import { createTestRuntime, type TestRuntime, type TestRuntimeOptions } from '../../../src/testing/testing.ts'
import { sharedSnapshot } from '../../support/embedded.ts'
import { createDatabase, describeOnPostgres } from '../../support/servers.ts'

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
