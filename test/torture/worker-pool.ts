import { setTimeout as pause } from 'node:timers/promises'
import { between, oneOf } from './random.ts'
import type { WorkerProcess } from './worker-process.ts'

/** How long some worker executes before the next kill: from within its first claim to some dozen runs later. */
const ALIVE_MS = [10, 900] as const

const NONE = async (): Promise<ReadonlySet<number>> => new Set()

/** They keep their connections, of which a server has some dozen only. */
const FROZEN_MAX = 2

/** Some workers, each replaced as soon as it is killed or frozen: while one starts, two others execute. */
export class WorkerPool {
  readonly #start: () => WorkerProcess
  #workers: WorkerProcess[]
  readonly #frozen: WorkerProcess[] = []

  constructor(count: number, start: () => WorkerProcess) {
    this.#start = start
    this.#workers = Array.from({ length: count }, start)
  }

  /** `preferred` tells the processes to choose from, where one of them is at hand; else it is any. */
  async killOne(random: () => number, preferred = NONE): Promise<void> {
    await end(await this.#takeOne(random, preferred))
  }

  /** Like a machine that is suspended: nothing of it is closed, and it never goes on. */
  async freezeOne(random: () => number): Promise<void> {
    const victim = await this.#takeOne(random, NONE)
    victim.signal('SIGSTOP')
    this.#frozen.push(victim)
    const first = this.#frozen.length > FROZEN_MAX ? this.#frozen.shift() : undefined
    if (first) await end(first)
  }

  async #takeOne(random: () => number, preferred: typeof NONE): Promise<WorkerProcess> {
    await Promise.any(this.#workers.map((worker) => worker.ready))
    await pause(between(random, ...ALIVE_MS)) // counted from here, or a worker would die before it has claimed anything
    const pids = await preferred()
    const ready = this.#workers.filter((worker) => worker.isReady)
    const among = ready.filter(({ pid }) => pids.has(pid))
    const victim = oneOf(random, among.length > 0 ? among : ready)
    this.#workers = [...this.#workers.filter((worker) => worker !== victim), this.#start()]
    return victim
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#workers, ...this.#frozen].map(end))
  }
}

async function end(worker: WorkerProcess): Promise<void> {
  worker.signal('SIGKILL')
  await worker.exited
}
