import { setTimeout as pause } from 'node:timers/promises'
import { between, oneOf } from './random.ts'
import type { WorkerProcess } from './worker-process.ts'

/** How long some worker executes before the next kill: from within its first claim to some dozen runs later. */
const ALIVE_MS = [10, 900] as const

/** Some workers, each replaced as soon as it is killed: while one starts, two others execute. */
export class WorkerPool {
  readonly #start: () => WorkerProcess
  #workers: WorkerProcess[]

  constructor(count: number, start: () => WorkerProcess) {
    this.#start = start
    this.#workers = Array.from({ length: count }, start)
  }

  async killOne(random: () => number): Promise<void> {
    await Promise.any(this.#workers.map((worker) => worker.ready))
    await pause(between(random, ...ALIVE_MS)) // counted from here, or a worker would die before it has claimed anything
    const victim = oneOf(
      random,
      this.#workers.filter((worker) => worker.isReady),
    )
    victim.signal('SIGKILL')
    await victim.exited
    this.#workers = [...this.#workers.filter((worker) => worker !== victim), this.#start()]
  }

  async stop(): Promise<void> {
    for (const worker of this.#workers) worker.signal('SIGKILL')
    await Promise.all(this.#workers.map((worker) => worker.exited))
  }
}
