import { Worker as Thread } from 'node:worker_threads'
import { createTicker, defineService, type Service } from '../../foundation/service.ts'
import { HEARTBEAT, type HeartbeatReply } from '../kernel/kernel.ts'
import { SHARED, type ThreadData, type ThreadMessage, wallMs } from './heartbeat-protocol.ts'

/** What a worker hears from its heartbeat. `null`: its lease is lost. */
export interface HeartbeatOptions {
  readonly workerId: string
  /** Makes the worker's lease begin. Called once, right before the first beat: a heart may take longer to come up than a lease lasts. */
  readonly register: () => Promise<void>
  readonly intervalMs: number
  readonly onReply: (reply: HeartbeatReply | null, roundTripMs: number) => void
  readonly onError: (error: unknown) => void
}

/** Heartbeats from this thread: for the embedded database, which no other thread can reach. */
export function inlineHeartbeat(
  beat: (workerId: string) => Promise<HeartbeatReply | null>,
  { workerId, register, intervalMs, onReply, onError }: HeartbeatOptions,
): Service {
  const ticker = createTicker({
    name: 'heartbeat',
    intervalMs,
    onError,
    tick: async () => {
      const sentAt = performance.now()
      onReply(await beat(workerId), performance.now() - sentAt)
    },
  })
  return defineService(ticker.name, {
    start: async () => {
      await register()
      await ticker.start()
    },
    stop: ticker.stop,
  })
}

/** Built code has another ending than source, and a thread's file is not an import that the compiler rewrites. */
const THREAD_FILE = import.meta.url.endsWith('.ts') ? './heartbeat-thread.ts' : './heartbeat-thread.js'

export interface ThreadHeartbeatOptions extends HeartbeatOptions {
  readonly databaseUrl: string
  readonly graceMs: number
  /** When the first of the executing runs reaches its deadline, in milliseconds since the epoch. */
  readonly earliestDeadlineAt: () => number
}

/**
 * Heartbeats from a thread with a connection of its own, so that an agent that blocks the event loop keeps its lease.
 * It keeps it until the deadline: once a run is past it and the event loop is still blocked, the heart stops beating.
 */
export function threadHeartbeat(options: ThreadHeartbeatOptions): Service {
  const { databaseUrl, workerId, register, intervalMs, graceMs, onReply, onError, earliestDeadlineAt } = options
  const shared = new SharedArrayBuffer(2 * Float64Array.BYTES_PER_ELEMENT)
  const view = new Float64Array(shared)
  const alive = createTicker({
    name: 'event loop signal',
    intervalMs: intervalMs / 3,
    onError,
    tick: async () => {
      view[SHARED.loopAliveAt] = Date.now()
      view[SHARED.earliestDeadlineAt] = earliestDeadlineAt()
    },
  })
  let thread: Thread | undefined
  const hear = (message: ThreadMessage) => {
    if (message.kind === 'error') onError(new Error(message.message))
    if (message.kind !== 'reply') return
    const { reply, roundTripMs, receivedAtMs } = message
    // While the event loop was blocked the message lay about, and the time that it tells went by.
    onReply(reply && { ...reply, nowMs: reply.nowMs + Math.max(0, wallMs() - receivedAtMs) }, roundTripMs)
  }
  /** Resolves when the thread is up and waits for the word to beat. */
  const startThread = async (): Promise<Thread> => {
    const workerData: ThreadData = { databaseUrl, statement: HEARTBEAT, workerId, intervalMs, graceMs, shared }
    const started = new Thread(new URL(THREAD_FILE, import.meta.url), { workerData })
    thread = started
    started.on('error', onError)
    await new Promise<void>((resolve, reject) => {
      started.on('message', (message: ThreadMessage) => (message.kind === 'up' ? resolve() : hear(message)))
      started.once('exit', (code) => reject(new Error(`the heartbeat's thread ended with code ${code}`)))
    })
    return started
  }
  /** A heart that breaks is replaced; the lease tells if too late. */
  const beat = (beating: Thread) => {
    beating.once('exit', () => {
      if (thread === beating) startThread().then(beat).catch(onError)
    })
    beating.postMessage('beat')
  }
  return defineService('heartbeat', {
    start: async () => {
      await alive.start()
      const started = await startThread()
      await register()
      beat(started)
    },
    stop: async () => {
      const stopping = thread
      thread = undefined
      await stopping?.terminate()
      await alive.stop()
    },
  })
}
