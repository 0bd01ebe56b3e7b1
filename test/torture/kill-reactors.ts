import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createBus } from '../../src/foundation/bus/bus.ts'
import { silentLogger } from '../../src/foundation/log.ts'
import { until } from '../flow/support/until.ts'
import { newId, ReactorWorld } from '../reactor/reactor-world.ts'
import type { OwnRedis } from '../support/redis-server.ts'
import { COMPILE_CACHE } from './worker-process.ts'

const SCRIPT = new URL('./reactor-process.ts', import.meta.url).pathname
const RUNS = 200
const TYPES = ['run.created', 'run.started', 'trace.started', 'policy.evaluated', 'run.completed'] as const

export interface KillReactors {
  readonly databaseUrl: string
  readonly redis: OwnRedis
  restart(port: number): Promise<OwnRedis>
  readonly transport: 'redis-streams' | 'redis-pubsub'
  readonly events: number
  readonly patienceMs: number
  say(line: string): void
}

/**
 * Three reactor processes share the events of a few hundred runs; two are killed on the way, and Redis is restarted once,
 * empty. Returns what is wrong in the end: events without effect, with several, or out of order within their run.
 */
export async function killReactors(options: KillReactors): Promise<string[]> {
  const { databaseUrl, redis, restart, transport, events, patienceMs, say } = options
  const open = () => createBus({ transport, url: redis.url, log: silentLogger })
  const world = await ReactorWorld.at(databaseUrl, open)
  const children = [1, 2, 3].map(() => startReactor(databaseUrl, redis.url, transport))
  let restarted: OwnRedis | undefined
  const disturb = new Map([
    [0.3, () => kill(children[0], say)],
    [
      0.5,
      async () => {
        await redis.stop()
        restarted = await restart(redis.port)
        say('Redis was restarted')
      },
    ],
    [0.7, () => kill(children[1], say)],
  ])
  try {
    await Promise.all(children.map(untilReady))
    const runs = Array.from({ length: RUNS }, newId)
    const committed: { runId: string; id: string }[] = []
    while (committed.length < events) {
      const ids = await world.commit(runs, TYPES)
      committed.push(...ids.map((id, i) => ({ id, runId: runs[Math.floor(i / TYPES.length)] as string })))
      for (const [share, act] of disturb) {
        if (committed.length < share * events) continue
        disturb.delete(share)
        await act()
      }
    }
    say(`${committed.length} events are committed`)
    await until(
      () => world.countEffects(),
      (count) => count >= committed.length,
      patienceMs,
    ).catch(() => {})
    return wrongIn(await world.effects(), committed)
  } finally {
    for (const child of children) child.kill('SIGKILL')
    await world.close()
    await restarted?.stop()
  }
}

function wrongIn(
  effects: readonly { runId: string; eventId: string }[],
  committed: readonly { runId: string; id: string }[],
): string[] {
  const wrong: string[] = []
  if (effects.length !== committed.length) wrong.push(`${effects.length} effects of ${committed.length} events`)
  const distinct = new Set(effects.map(({ eventId }) => eventId)).size
  if (distinct !== effects.length) wrong.push(`${effects.length - distinct} effects are there twice`)
  const handled = Map.groupBy(effects, ({ runId }) => runId)
  for (const [runId, own] of Map.groupBy(committed, (event) => event.runId)) {
    const order = (handled.get(runId) ?? []).map(({ eventId }) => eventId).join()
    if (order !== own.map(({ id }) => id).join()) wrong.push(`run ${runId} was not handled in order`)
  }
  return wrong.slice(0, 20)
}

function startReactor(...args: string[]): ChildProcess {
  const env = { ...process.env, NODE_COMPILE_CACHE: COMPILE_CACHE }
  return spawn(process.execPath, [SCRIPT, ...args], { env, stdio: ['ignore', 'pipe', 'inherit'] })
}

async function untilReady(child: ChildProcess): Promise<void> {
  await Promise.race([
    once(child.stdout as NodeJS.ReadableStream, 'data'),
    once(child, 'exit').then(() => Promise.reject(new Error('a reactor ended at once'))),
  ])
}

async function kill(child: ChildProcess | undefined, say: (line: string) => void): Promise<void> {
  if (!child) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
  say(`reactor ${child.pid} was killed`)
}
