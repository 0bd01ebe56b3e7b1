import { describe, expect, it } from 'vitest'
import { silentLogger } from '../../foundation/log.ts'
import type { Database } from '../../foundation/storage/storage.ts'
import type { Orders, RunOrchestrationKernel } from '../kernel/kernel.ts'
import { OrderInbox } from './order-inbox.ts'

/** An inbox of a worker that holds run `mine` of tenant `acme`. */
async function inbox() {
  let hear = (_payload: string) => {}
  let queries = 0
  const obeyed: Partial<Orders>[] = []
  let told = Promise.withResolvers<void>()
  const opened = new OrderInbox({
    database: {
      listen: async (_channel: string, heard: typeof hear) => {
        hear = heard
        return async () => {}
      },
    } as unknown as Database,
    kernel: {
      orders: async () => {
        queries++
        return { stops: ['read'] }
      },
    } as unknown as RunOrchestrationKernel,
    log: silentLogger,
    workerId: () => 'worker',
    concerns: ({ tenantId, runId = 'mine' }) => tenantId === 'acme' && runId === 'mine',
    obey: (orders) => {
      obeyed.push(orders)
      told.resolve()
      told = Promise.withResolvers()
    },
  })
  await opened.start()
  const push = (order: unknown) => hear(typeof order === 'string' ? order : JSON.stringify(order))
  return { opened, push, obeyed, told: () => told.promise, queries: () => queries }
}

describe('a worker that is nudged to look for orders', () => {
  it('reads them once for many nudges', async () => {
    const { opened, push, obeyed, told, queries } = await inbox()
    const heard = told()
    for (let i = 0; i < 10; i++) push({ tenantId: 'acme' })
    await heard
    expect([obeyed, queries()]).toEqual([[{ stops: ['read'] }], 1])
    await opened.stop()
  })

  it('obeys a stop that names its run without a query', async () => {
    const { opened, push, obeyed, queries } = await inbox()
    push({ tenantId: 'acme', runId: 'mine', stop: true })
    await opened.stop()
    expect([obeyed, queries()]).toEqual([[{ stops: ['mine'] }], 0])
  })

  it.each([
    ['of another tenant', { tenantId: 'other' }],
    ['of another run', { tenantId: 'acme', runId: 'other', stop: true }],
    ['that nobody understands', 'no JSON'],
    ['that names no tenant', null],
  ])('does nothing for one %s', async (_of, push) => {
    const { opened, push: send, obeyed, queries } = await inbox()
    send(push)
    await opened.stop()
    expect([obeyed, queries()]).toEqual([[], 0])
  })

  it('reads after a claim what was pushed during it: the claim may have brought the run', async () => {
    const { opened, push, told, queries } = await inbox()
    const heard = told()
    await opened.whileClaiming(async () => push({ tenantId: 'other' }))
    await heard
    expect(queries()).toBe(1)
    await opened.stop()
  })
})
