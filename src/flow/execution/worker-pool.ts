import type { Agent } from '../../domains/agents/agents.ts'
import { backoffMs, sleep } from '../../foundation/backoff.ts'
import { createTicker, defineService, type Service, type Ticker } from '../../foundation/service.ts'
import { limits } from '../../limits.ts'
import {
  type Claim,
  type EagerSlot,
  type HeartbeatReply,
  isOrdered,
  type Lane,
  type OrderPush,
  type Orders,
} from '../kernel/kernel.ts'
import { type HeartbeatOptions, inlineHeartbeat, threadHeartbeat } from './heartbeat.ts'
import { NO_DEADLINE } from './heartbeat-protocol.ts'
import { OrderInbox } from './order-inbox.ts'
import { interrupted, RunControl } from './run-control.ts'
import { type RunClosing, type RunnerOptions, runToEnd } from './runner.ts'

/** How late a run of another process is claimed at the most; those of this process are claimed at once. */
const CLAIM_POLL_MS = 100
/** Pauses between the tries of a worker that lost its lease to start over, the database being away perhaps. */
const REGISTER_BASE_MS = 100
const REGISTER_CAP_MS = 5_000
/** What a run gets to give itself back at a drain; then it is left to its lease, as when the database is away. */
const RELEASE_MS = 2 * limits.stopGraceMs

export interface WorkerPoolOptions extends RunnerOptions {
  /** For people: host and process. */
  readonly process: string
  /** Runs executed at the same time. */
  readonly concurrency: number
  readonly leaseMs: number
  readonly heartbeatMs: number
  readonly drainTimeoutMs: number
  /** Absent on the embedded database. */
  readonly databaseUrl: string | undefined
  readonly onHeartbeat: (databaseNowMs: number, roundTripMs: number) => void
  /** Called when a run has ended, been parked or given back here. */
  readonly onClosed: (claim: Claim, closing: RunClosing) => void
}

/** Executes runs: claims them, runs them to their end, keeps their lease alive. `stop` drains. */
export interface WorkerPool extends Service {
  readonly workerId: string
  /** Runs that hold a slot here. */
  readonly active: number
  /** Looks for runs to claim now. */
  nudge(): void
  /**
   * A free slot for a run of the agent that is about to be submitted here; null when it must queue. There is none while
   * anything may be queued that would come before it.
   */
  keepSlot(agent: Pick<Agent, 'name' | 'version' | 'digest'>): EagerSlot | null
  /** Hears now what concerns the tenant's runs that it holds: an order, or a change of policies. */
  hear(tenantId: string): Promise<void>
  /** Falls silent as if its process had died: no heartbeat, no write, its lease runs out. For tests and the demo. */
  abandon(leaseMs: number): Promise<void>
}

export function createWorkerPool(options: WorkerPoolOptions): WorkerPool {
  return new Pool(options)
}

class Pool implements WorkerPool {
  readonly name = 'worker pool'
  readonly #options: WorkerPoolOptions
  readonly #lanes: readonly Lane[]
  readonly #claims: Ticker
  readonly #orders: OrderInbox
  readonly #service: Service
  readonly #active = new Map<string, { control: RunControl; deadlineAt: number; closed: Promise<void> }>()
  #workerId = ''
  #heartbeat: Service | undefined
  #lastTenant = ''
  #draining = false
  #adopt = false
  /** True when the last claim left nothing in the queue, and nothing is known to have come since. */
  #queueEmpty = false
  #nudges = 0
  readonly #keptSlots = new Set<Promise<void>>()

  constructor(options: WorkerPoolOptions) {
    this.#options = options
    this.#lanes = options.directory.all().map(({ name, version, digest, maxRunning }) => {
      return { agent: name, version, digest, maxRunning }
    })
    this.#claims = createTicker({
      name: 'claims',
      intervalMs: CLAIM_POLL_MS,
      tick: (signal) => this.#claimAll(signal),
      onError: (error) => {
        this.#adopt = true // its reply may be what was lost, not the claim
        options.log.error({ error }, 'runs could not be claimed')
      },
    })
    this.#orders = new OrderInbox({
      ...options,
      workerId: () => this.#workerId,
      concerns: (push) => this.#holds(push),
      obey: (orders) => this.#obey(orders),
    })
    this.#service = defineService(this.name, { start: () => this.#start(), stop: () => this.#drain() })
  }

  get state() {
    return this.#service.state
  }

  get workerId(): string {
    return this.#workerId
  }

  get active(): number {
    return this.#active.size
  }

  start(): Promise<void> {
    return this.#service.start()
  }

  stop(): Promise<void> {
    return this.#service.stop()
  }

  nudge(): void {
    this.#nudges++
    this.#queueEmpty = false
    this.#claims.nudge()
  }

  hear(tenantId: string): Promise<void> {
    return this.#orders.look({ tenantId })
  }

  keepSlot({ name, version, digest }: Pick<Agent, 'name' | 'version' | 'digest'>): EagerSlot | null {
    if (!this.#queueEmpty || this.#draining || this.#workerId === '' || this.#freeSlots() <= 0) return null
    const lane = this.#lanes.find((lane) => lane.agent === name && lane.version === version && lane.digest === digest)
    if (!lane || lane.maxRunning !== null || !this.#options.guard.mayTrace()) return null
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#keptSlots.add(promise)
    void this.#orders.whileClaiming(() => promise)
    const giveBack = () => {
      this.#keptSlots.delete(promise)
      resolve()
    }
    return {
      workerId: this.#workerId,
      begin: (claim) => {
        giveBack()
        if (claim.workerId === this.#workerId) this.#execute(claim) // else the lease was lost meanwhile
      },
      release: () => {
        giveBack()
        this.#adopt = true // only the reply may have been lost
        this.nudge()
      },
    }
  }

  #freeSlots(): number {
    return this.#options.concurrency - this.#active.size - this.#keptSlots.size
  }

  async abandon(leaseMs: number): Promise<void> {
    await this.#claims.stop()
    await this.#heartbeat?.stop()
    await this.#options.kernel.abandon(this.#workerId, leaseMs)
    for (const { control } of this.#active.values()) control.interrupt({ kind: 'lost' })
  }

  async #start(): Promise<void> {
    this.#draining = false
    await this.#register()
    await this.#orders.start()
    await this.#claims.start()
  }

  /** A new identity: at the start, and after a lease was lost. */
  async #register(): Promise<void> {
    const { kernel, newId, process, concurrency, leaseMs, databaseUrl } = this.#options
    const workerId = newId()
    const embedded = databaseUrl === undefined
    const identity = { workerId, process, concurrency, leaseMs: embedded ? null : leaseMs }
    this.#heartbeat = this.#createHeartbeat(workerId, () => kernel.register(identity))
    await this.#heartbeat.start()
    this.#workerId = workerId
  }

  #createHeartbeat(workerId: string, register: () => Promise<void>): Service {
    const { kernel, databaseUrl, heartbeatMs, log } = this.#options
    const heartbeat: HeartbeatOptions = {
      workerId,
      register,
      intervalMs: heartbeatMs,
      onReply: (reply, roundTripMs) => this.#heard(workerId, reply, roundTripMs),
      onError: (error) => log.warn({ error, workerId }, 'a heartbeat failed'),
    }
    if (databaseUrl === undefined) return inlineHeartbeat((id) => kernel.heartbeat(id), heartbeat)
    return threadHeartbeat({
      ...heartbeat,
      databaseUrl,
      graceMs: limits.stopGraceMs,
      earliestDeadlineAt: () => {
        return [...this.#active.values()].reduce(
          (earliest, { deadlineAt }) => Math.min(earliest, deadlineAt),
          NO_DEADLINE,
        )
      },
    })
  }

  #heard(workerId: string, reply: HeartbeatReply | null, roundTripMs: number): void {
    if (reply === null) {
      if (workerId !== this.#workerId) return
      void this.#loseLease()
      return
    }
    this.#options.onHeartbeat(reply.nowMs, roundTripMs)
    this.#obey(reply.orders)
    if (this.#adopt) this.nudge()
  }

  /** Past its lease, everything that it executes belongs to others. It starts over under a new name. */
  async #loseLease(): Promise<void> {
    const { log } = this.#options
    log.warn({ workerId: this.#workerId, runs: this.#active.size }, 'the lease is lost: its runs go on elsewhere')
    const lost = this.#heartbeat
    this.#heartbeat = undefined
    this.#workerId = ''
    for (const { control } of this.#active.values()) control.interrupt({ kind: 'lost' })
    await lost?.stop()
    for (let attempt = 1; !this.#draining && this.#workerId === ''; attempt++) {
      await this.#register().catch((error) => log.error({ error, attempt }, 'a worker could not register again'))
      const { random } = this.#options
      await sleep(backoffMs({ attempt, baseMs: REGISTER_BASE_MS, capMs: REGISTER_CAP_MS, random }))
    }
    this.nudge()
  }

  #holds({ tenantId, runId }: OrderPush): boolean {
    if (runId !== undefined) return this.#active.get(runId)?.control.claim.tenantId === tenantId
    return [...this.#active.values()].some(({ control }) => control.claim.tenantId === tenantId)
  }

  #obey({ stops = [], stopOrders = [], pauses = [], policies = {} }: Partial<Orders>): void {
    const deliveredAt = this.#options.clock.now()
    for (const order of stopOrders) {
      const interruption = { kind: 'stop', stop: order.stop, deliveredAt } as const
      const reason = interrupted(interruption)
      for (const { control } of this.#active.values()) {
        if (isOrdered(order, control.claim)) control.interrupt(interruption, reason)
      }
    }
    for (const runId of stops) this.#active.get(runId)?.control.interrupt({ kind: 'stop', stop: null, deliveredAt })
    this.#deliverPauses(pauses)
    for (const { control } of this.#active.values()) control.heardOfPolicies(policies[control.claim.tenantId])
  }

  #deliverPauses(pauses: readonly string[]): void {
    const { clock, kernel, log } = this.#options
    const heard = pauses.flatMap((runId) => this.#active.get(runId)?.control ?? []).filter((run) => !run.pauseRequested)
    if (heard.length === 0) return
    for (const control of heard) control.requestPause()
    const runs = heard.map(({ claim }) => claim)
    kernel
      .pausesDelivered(runs, clock.now())
      .catch((error) => log.warn({ error, runs: runs.length }, 'delivered pauses could not be noted'))
  }

  async #claimAll(signal: AbortSignal): Promise<void> {
    const { kernel } = this.#options
    this.#queueEmpty = false
    if (this.#adopt) await this.#adoptUnknown()
    for (;;) {
      const nudges = this.#nudges
      const slots = Math.min(this.#freeSlots(), limits.claimBatchMax)
      if (slots <= 0 || signal.aborted || this.#workerId === '') return
      const workerId = this.#workerId
      const request = { workerId, slots, lanes: this.#lanes, afterTenant: this.#lastTenant }
      const claims = await this.#orders.whileClaiming(async () => {
        const claimed = await kernel.claim(request)
        for (const claim of claimed) this.#execute(claim)
        return claimed
      })
      this.#lastTenant = claims.at(-1)?.tenantId ?? this.#lastTenant
      if (claims.length < slots) {
        this.#queueEmpty = nudges === this.#nudges
        return
      }
    }
  }

  async #adoptUnknown(): Promise<void> {
    if (this.#workerId === '') return
    this.#adopt = false // before it looks: a run that is lost meanwhile is for the next time
    const unknown = await this.#options.kernel.claimsUnknownTo(this.#workerId, [...this.#active.keys()])
    for (const claim of unknown) this.#execute(claim)
  }

  #execute(claim: Claim): void {
    const control = new RunControl(claim)
    const closed = this.#runAndClose(control)
    const deadlineAt = Date.now() + Math.max(claim.timeoutMs - claim.activeMs, 0)
    this.#active.set(claim.runId, { control, deadlineAt, closed })
    if (claim.stop) control.interrupt({ kind: 'stop', stop: claim.stop, deliveredAt: this.#options.clock.now() })
    if (claim.pauseRequested) control.interrupt({ kind: 'pause', pause: null })
  }

  async #runAndClose(control: RunControl): Promise<void> {
    const { claim } = control
    const { log, onClosed } = this.#options
    let freesOnlyItsSlot = false
    try {
      const closing = await runToEnd(this.#options, control)
      if (closing.kind === 'lease_lost') this.#adopt = true // or only the database was away, and it is still held here
      onClosed(claim, closing)
      freesOnlyItsSlot = closing.kind === 'ended' && !claim.limited && claim.parentRunId === null
    } catch (error) {
      this.#adopt = true // it is still held by this worker
      log.error({ error, runId: claim.runId, tenantId: claim.tenantId }, 'a run could not be executed')
    } finally {
      // A run whose lease was lost may have been claimed again here, under another lease, before this one let go.
      if (this.#active.get(claim.runId)?.control === control) this.#active.delete(claim.runId)
      // A queue that was empty still is, unless a run of it waited for this one's end.
      const queueStays = freesOnlyItsSlot && this.#queueEmpty && !this.#adopt
      if (!this.#draining && !queueStays) this.nudge()
    }
  }

  /** No new runs; those under way get their time, then go back to the queue at once. */
  async #drain(): Promise<void> {
    this.#draining = true
    await this.#claims.stop()
    await this.#within(RELEASE_MS, Promise.all(this.#keptSlots))
    const closed = () => Promise.all([...this.#active.values()].map((active) => active.closed))
    await this.#within(this.#options.drainTimeoutMs, closed())
    for (const { control } of this.#active.values())
      control.interrupt({ kind: 'suspend', waiting: 'LEASE', dueAt: null, signalsSeen: null })
    await this.#within(RELEASE_MS, closed())
    for (const { control } of this.#active.values()) control.interrupt({ kind: 'lost' })
    await closed()
    await this.#orders.stop()
    await this.#heartbeat?.stop()
    if (this.#workerId !== '') await this.#options.kernel.leave(this.#workerId)
  }

  async #within(patienceMs: number, work: Promise<unknown>): Promise<void> {
    const patience = new AbortController()
    await Promise.race([work, sleep(patienceMs, patience.signal).catch(() => undefined)])
    patience.abort()
  }
}
