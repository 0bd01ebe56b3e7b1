import fc from 'fast-check'
import { beforeAll, expect, it } from 'vitest'
import { RunOrchestrationKernel } from '../../src/flow/kernel/kernel.ts'
import { systemClock } from '../../src/foundation/clock.ts'
import { createIdSource } from '../../src/foundation/ids.ts'
import { defineAgent } from '../../src/index.ts'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'

const newId = createIdSource()
const agents = ['a', 'b'].map((name) => defineAgent({ name, version: '1', run: () => null }))

interface Queued {
  readonly tenant: string
  readonly agent: string
  readonly priority: number
}

const queue = fc.array(
  fc.record({
    tenant: fc.constantFrom('t1', 't2', 't3', 't4'),
    agent: fc.constantFrom('a', 'b'),
    priority: fc.constantFrom(-1, 0, 5),
  }),
  { maxLength: 40 },
)
const limit = fc.option(fc.integer({ min: 1, max: 4 }))

describeOnDatabases('any queue', (open) => {
  let runtime: TestRuntime
  let kernel: RunOrchestrationKernel
  beforeAll(async () => {
    runtime = await open({ agents, started: false })
    const { database } = runtime
    const mayTrace = () => true
    const onTraceError = (error: unknown) => {
      throw error
    }
    kernel = new RunOrchestrationKernel({
      database,
      clock: systemClock,
      newId,
      random: Math.random,
      retryForMs: 0,
      pauseSla: { slaMs: 3_600_000, notifyBeforeMs: 0, onTimeout: 'TERMINATE' },
      mayTrace,
      onTraceError,
    })
  })

  /** A worker that has nothing to do yet, on a queue of just these runs. */
  async function queueOf(queued: readonly Queued[], tenantMax: number | null) {
    await runtime.database.query('delete from concordat.traces')
    await runtime.database.query('delete from concordat.runs')
    for (const tenantId of ['t1', 't2', 't3', 't4'])
      await runtime.concordat.tenants.put({ tenantId, maxRunning: tenantMax })
    await Promise.all(queued.map((request) => runtime.runs.submit(request)))
    const workerId = newId()
    await kernel.register({ workerId, process: 'test', concurrency: 1, leaseMs: 60_000 })
    return workerId
  }
  const lanes = (maxRunning: number | null) =>
    agents.map(({ name, version, digest }) => ({ agent: name, version, digest, maxRunning }))
  const countBy = <T>(values: readonly T[], key: (value: T) => string) => {
    return new Map([...Map.groupBy(values, key)].map(([name, group]) => [name, group.length]))
  }

  it('is claimed tenants in turn, the most urgent of each first, until it is empty', async () => {
    await fc.assert(
      fc.asyncProperty(queue, fc.integer({ min: 1, max: 12 }), async (queued, slots) => {
        const workerId = await queueOf(queued, null)
        const waiting = new Map(
          [...Map.groupBy(queued, ({ tenant }) => tenant)].map(([tenant, runs]) => [
            tenant,
            runs.map(({ priority }) => priority),
          ]),
        )
        let afterTenant = ''
        let left = queued.length
        while (left > 0) {
          const claims = await kernel.claim({ workerId, slots, lanes: lanes(null), afterTenant })
          expect(claims).toHaveLength(Math.min(slots, left))
          left -= claims.length
          afterTenant = claims.at(-1)?.tenantId ?? ''
          const taken = countBy(claims, ({ tenantId }) => tenantId)
          const most = Math.max(...taken.values())
          for (const [tenant, priorities] of waiting) {
            const count = taken.get(tenant) ?? 0
            priorities.sort((x, y) => y - x).splice(0, count)
            // Whoever still has runs waiting got no fewer than any other, but for the last turn.
            if (priorities.length > 0) expect(count).toBeGreaterThanOrEqual(most - 1)
          }
        }
        const rows = await runtime.database.query<{ priority: number; rank: bigint }>(
          `select tenant_id, priority, rank() over (partition by tenant_id order by active_since) as rank from concordat.runs order by 1, 3`,
        )
        for (const [, group] of Map.groupBy(
          rows as ({ tenant_id: string } & (typeof rows)[number])[],
          (row) => row.tenant_id,
        )) {
          for (const [earlier, later] of group.slice(1).map((row, i) => [group[i]!, row] as const)) {
            if (earlier.rank < later.rank) expect(earlier.priority).toBeGreaterThanOrEqual(later.priority)
          }
        }
      }),
      { numRuns: 15 },
    )
  })

  it('with limits is never claimed beyond them, and never less than they allow', async () => {
    await fc.assert(
      fc.asyncProperty(
        queue,
        fc.integer({ min: 1, max: 20 }),
        limit,
        limit,
        async (queued, slots, tenantMax, agentMax) => {
          const workerId = await queueOf(queued, tenantMax)
          const claimed: { tenantId: string; agent: string }[] = []
          for (;;) {
            const claims = await kernel.claim({
              workerId,
              slots,
              lanes: lanes(agentMax),
              afterTenant: claimed.at(-1)?.tenantId ?? '',
            })
            claimed.push(...claims)
            if (claims.length === 0) break
          }
          const byTenant = Map.groupBy(queued, ({ tenant }) => tenant)
          for (const [tenant, runs] of byTenant) {
            const own = claimed.filter(({ tenantId }) => tenantId === tenant)
            const perAgent = countBy(own, ({ agent }) => agent)
            for (const count of perAgent.values()) expect(count).toBeLessThanOrEqual(agentMax ?? count)
            const possible = [...countBy(runs, ({ agent }) => agent).values()].reduce(
              (sum, n) => sum + Math.min(n, agentMax ?? n),
              0,
            )
            expect(own).toHaveLength(Math.min(possible, tenantMax ?? possible))
          }
        },
      ),
      { numRuns: 15 },
    )
  })
})
