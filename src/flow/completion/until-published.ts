import type { RunKey } from '../../domains/runs/runs.ts'
import { AppError } from '../../foundation/app-error.ts'
import { sleep } from '../../foundation/backoff.ts'
import { type Database, statement } from '../../foundation/storage/storage.ts'

const WAIT_MS = 60_000
const POLL_MS = 20

const UNPUBLISHED = statement(
  'outbox_unpublished_of_run',
  'select count(*)::int as rows from concordat.outbox where tenant_id = $1 and run_id = $2 and published_at is null',
)

/** Resolves when the relay has published all of the run's events. Fails with `BUS_UNREACHABLE` after a minute. */
export async function untilPublished(database: Database, { tenantId, runId }: RunKey): Promise<void> {
  const giveUpAt = performance.now() + WAIT_MS
  for (;;) {
    const [unpublished] = await database.query<{ rows: number }>(UNPUBLISHED, [tenantId, runId])
    if (unpublished?.rows === 0) return
    if (performance.now() > giveUpAt) {
      throw new AppError(
        'BUS_UNREACHABLE',
        `${unpublished?.rows} outbox rows of run ${runId} are not published after ${WAIT_MS / 1000} s`,
      )
    }
    await sleep(POLL_MS)
  }
}
