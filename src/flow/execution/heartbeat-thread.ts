import { once } from 'node:events'
import { parentPort, workerData } from 'node:worker_threads'
import pg from 'pg'
import type { Orders } from '../kernel/kernel.ts'
import { SHARED, type ThreadData, type ThreadMessage, wallMs } from './heartbeat-protocol.ts'

const { databaseUrl, statement, workerId, intervalMs, graceMs, shared } = workerData as ThreadData
const view = new Float64Array(shared)

let client: pg.Client | undefined

async function connected(): Promise<pg.Client> {
  if (client) return client
  const fresh = new pg.Client({
    connectionString: databaseUrl,
    application_name: 'concordat heartbeat',
    connectionTimeoutMillis: intervalMs,
  })
  fresh.on('error', () => {
    client = undefined
  })
  await fresh.connect()
  client = fresh
  return fresh
}

/** Blocked past a deadline: whatever blocks the event loop will not end its run any more, so another worker must. */
function isBlockedPastDeadline(): boolean {
  const now = Date.now()
  const silentMs = now - (view[SHARED.loopAliveAt] ?? now)
  return silentMs > intervalMs + graceMs && now > (view[SHARED.earliestDeadlineAt] ?? now) + graceMs
}

function tell(message: ThreadMessage): void {
  parentPort?.postMessage(message)
}

async function beat(): Promise<void> {
  if (isBlockedPastDeadline()) return
  try {
    const database = await connected()
    const sentAt = performance.now()
    const { rows } = await database.query<{ now_ms: string; orders: Orders }>({ ...statement, values: [workerId] })
    const [row] = rows
    const reply = row ? { nowMs: Number(row.now_ms), orders: row.orders } : null
    tell({ kind: 'reply', reply, roundTripMs: performance.now() - sentAt, receivedAtMs: wallMs() })
  } catch (error) {
    client = undefined
    tell({ kind: 'error', message: error instanceof Error ? error.message : String(error) })
  }
}

const toldToBeat = parentPort && once(parentPort, 'message')
tell({ kind: 'up' })
await toldToBeat
for (;;) {
  await beat()
  await new Promise((resolve) => setTimeout(resolve, intervalMs))
}
