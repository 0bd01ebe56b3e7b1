import { sleep } from '../../foundation/backoff.ts'
import type { Database, Tx } from '../../foundation/storage/storage.ts'
import type { Concordat } from '../../runtime.ts'
import { notCompleteAmong, notEndedAmong, unpublishedOf } from '../footprint/footprint.ts'
import { plural } from './format.ts'

const POLL_MS = 100
/** Runs that are asked for in one statement. */
const ASKED_MAX = 2_000
const RECONCILED_AT_ONCE = 500
/** After this long without any progress, a person wants to know what it waits for. */
const STALLED_MS = 10_000
const PUBLISH_PATIENCE_MS = 30_000

/** Watches runs until they have ended, whichever process executes them: it asks the database. */
export class EndWatch {
  ended = 0
  readonly #database: Database
  readonly #tenantId: string
  readonly #say: (line: string) => void
  /** In the order in which they were submitted, which is roughly the one in which they end. */
  #open: string[] = []
  #closed = false

  constructor(database: Database, tenantId: string, say: (line: string) => void) {
    this.#database = database
    this.#tenantId = tenantId
    this.#say = say
  }

  add(runId: string): void {
    this.#open.push(runId)
  }

  /** No more will be added. */
  close(): void {
    this.#closed = true
  }

  /** Resolves when it is closed and all runs have ended, or when the signal aborts. */
  async untilEnded(signal: AbortSignal): Promise<void> {
    let progressAt = performance.now()
    while (!signal.aborted && !(this.#closed && this.#open.length === 0)) {
      if ((await this.look()) > 0) progressAt = performance.now()
      if (performance.now() - progressAt > STALLED_MS) {
        progressAt = performance.now()
        if (this.#open.length > 0) this.#say(await this.#stalled())
      }
      await sleep(POLL_MS, signal).catch(() => {})
    }
  }

  /** Asks for the longest open ones; those that are still open go to the end of the line. */
  async look(): Promise<number> {
    const asked = this.#open.splice(0, ASKED_MAX)
    if (asked.length === 0) return 0
    const open = await notEndedAmong(this.#database, this.#tenantId, asked)
    this.#open.push(...open)
    this.ended += asked.length - open.length
    return asked.length - open.length
  }

  async #stalled(): Promise<string> {
    const groups = await openGroups(this.#database, this.#tenantId, this.#open.slice(0, ASKED_MAX))
    const [example] = this.#open
    return `Waiting for ${plural(this.#open.length, 'run')}: ${groups.join(', ')}; see concordat runs get ${example}`
  }
}

async function openGroups(tx: Tx, tenantId: string, runIds: readonly string[]): Promise<string[]> {
  const rows = await tx.query<{ n: number; state: string }>(
    `select count(*)::int as n, concat_ws(' ', status, waiting, case when pending is not null then phase || ' refused' end) as state
       from concordat.runs where tenant_id = $1 and run_id = any($2::uuid[]) group by 2 order by 1 desc`,
    [tenantId, runIds],
  )
  return rows.map(({ n, state }) => `${n} ${state}`)
}

/** Reconciles what is not known to be complete, and waits until the events are published. */
export async function settle(
  concordat: Concordat,
  tenantId: string,
  runIds: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const { audit, database } = concordat
  for (const chunk of chunks(runIds, RECONCILED_AT_ONCE)) {
    if (signal.aborted) return
    await audit.reconcileMany(tenantId, await notCompleteAmong(database, tenantId, chunk))
  }
  let patientUntil = performance.now() + PUBLISH_PATIENCE_MS
  for (const chunk of chunks(runIds, ASKED_MAX)) {
    let before = Number.POSITIVE_INFINITY
    for (;;) {
      const unpublished = await unpublishedOf(database, tenantId, chunk)
      if (unpublished < before) patientUntil = performance.now() + PUBLISH_PATIENCE_MS
      if (unpublished === 0 || signal.aborted || performance.now() > patientUntil) break // what is left is counted
      before = unpublished
      await sleep(POLL_MS, signal).catch(() => {})
    }
  }
}

function* chunks<T>(items: readonly T[], size: number): Generator<readonly T[]> {
  for (let from = 0; from < items.length; from += size) yield items.slice(from, from + size)
}
