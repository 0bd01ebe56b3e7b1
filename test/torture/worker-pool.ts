import { setTimeout as pause } from 'node:timers/promises'
import { between, oneOf } from './random.ts'
import type { WorkerProcess } from './worker-process.ts'

/** How long some worker executes before the next kill: from within its first claim to some dozen runs later. */
const ALIVE_MS = [10, 900] as const

const NONE = async () => new Set<number>()

/** Some workers, each replaced as soon as it is killed: while one starts, two others execute. */
export class WorkerPool {
  readonly #start: () => WorkerProcess
  #workers: WorkerProcess[]

  constructor(count: number, start: () => WorkerProcess) {
    this.#start = start
    this.#workers = Array.from({ length: count }, start)
  }

  /** `preferred` tells the processes to choose from, where one of them is at hand; else it is any. */
  async killOne(random: () => number, preferred: () => Promise<ReadonlySet<number>> = NONE): Promise<void> {
    await Promise.any(this.#workers.map((worker) => worker.ready))
    await pause(between(random, ...ALIVE_MS)) // counted from here, or a worker would die before it has claimed anything
    const pids = await preferred()
    const ready = this.#workers.filter((worker) => worker.isReady)
    const among = ready.filter(({ pid }) => pids.has(pid))
    const victim = oneOf(random, among.length > 0 ? among : ready)
    victim.signal('SIGKILL')
    await victim.exited
    this.#workers = [...this.#workers.filter((worker) => worker !== victim), this.#start()]
  }

  async stop(): Promise<void> {
    for (const worker of this.#workers) worker.signal('SIGKILL')
    await Promise.all(this.#workers.map((worker) => worker.exited))
  }
}
