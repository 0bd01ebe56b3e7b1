import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ScanFloor } from './scan-floor.ts'

describe('the scan floor', () => {
  it('rises once all transactions have ended that ran when an id was drawn', () => {
    const floor = new ScanFloor()
    floor.observe({ drawn: 10n, xmin: 100n, xid: 105n }) // 100 to 104 may run
    floor.observe({ drawn: 20n, xmin: 104n, xid: null })
    expect(floor.settled).toBe(0n)
    floor.observe({ drawn: 30n, xmin: 105n, xid: null })
    expect(floor.settled).toBe(10n)
  })

  it('stays below a transaction that does not end, whatever commits after it', () => {
    const floor = new ScanFloor()
    for (let i = 1n; i < 100n; i++) floor.observe({ drawn: i * 10n, xmin: 50n, xid: 50n + i })
    expect(floor.settled).toBe(0n)
  })

  it('asks for a transaction id only while one can help', () => {
    const floor = new ScanFloor()
    expect(floor.asksBeyond).toBe(0n)
    floor.observe({ drawn: 7n, xmin: 50n, xid: 50n })
    expect(floor.asksBeyond).toBeGreaterThan(10n ** 18n)
    floor.observe({ drawn: 7n, xmin: 51n, xid: null })
    expect(floor.settled).toBe(7n)
    expect(floor.asksBeyond).toBe(7n)
  })

  it('never passes a row that can still become visible', () => {
    // Each step begins a transaction, which draws an outbox_id some steps later and ends some more steps later.
    const step = fc.record({ drawsAfter: fc.nat(5), lasts: fc.nat(20), looks: fc.boolean() })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const floor = new ScanFloor()
        const running = new Map<bigint, { drawsAt: number; endsAt: number; outboxId: bigint | undefined }>()
        let [nextXid, drawn] = [1n, 0n]
        for (const [now, { drawsAfter, lasts, looks }] of steps.entries()) {
          running.set(nextXid++, { drawsAt: now + drawsAfter, endsAt: now + drawsAfter + lasts, outboxId: undefined })
          for (const [xid, transaction] of running) {
            if (transaction.drawsAt === now) transaction.outboxId = ++drawn
            if (transaction.endsAt > now) continue
            expect(transaction.outboxId, 'a row that commits now was passed').toBeGreaterThan(floor.settled)
            running.delete(xid)
          }
          if (!looks) continue
          const xmin = [...running.keys()].reduce((least, xid) => (xid < least ? xid : least), nextXid)
          floor.observe({ drawn, xmin, xid: drawn > floor.asksBeyond ? nextXid++ : null })
        }
      }),
    )
  })
})
