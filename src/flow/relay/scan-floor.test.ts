import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ScanFloor } from './scan-floor.ts'

describe('the scan floor', () => {
  it('rises once all transactions have ended that ran when a row was seen', () => {
    const floor = new ScanFloor()
    floor.saw(10n)
    floor.observe(100n, 105n) // 100 to 104 may run
    floor.observe(104n, 110n)
    expect(floor.settled).toBe(0n)
    floor.observe(105n, 112n)
    expect(floor.settled).toBe(10n)
    expect(floor.isBehind).toBe(false)
  })

  it('stays below a transaction that does not end, whatever commits after it', () => {
    const floor = new ScanFloor()
    for (let id = 1n; id < 100n; id++) {
      floor.saw(id * 10n)
      floor.observe(50n, 50n + id)
    }
    expect(floor.settled).toBe(0n)
  })

  it('never passes a row that can still become visible', () => {
    // A schedule of transactions: each draws its id and outbox_id, then ends some steps later.
    const schedule = fc.array(fc.record({ lasts: fc.nat(20), looks: fc.boolean() }), { maxLength: 200 })
    fc.assert(
      fc.property(schedule, (steps) => {
        const floor = new ScanFloor()
        const running = new Map<bigint, { outboxId: bigint; endsAt: number }>()
        let xid = 1n
        for (const [now, { lasts, looks }] of steps.entries()) {
          running.set(xid, { outboxId: xid * 10n, endsAt: now + lasts })
          xid++
          for (const [id, { outboxId, endsAt }] of running) {
            if (endsAt > now) continue
            expect(outboxId, 'a row that commits now was passed').toBeGreaterThan(floor.settled)
            running.delete(id)
            if (looks) floor.saw(outboxId)
          }
          const xmin = [...running.keys()].reduce((least, id) => (id < least ? id : least), xid)
          if (looks) floor.observe(xmin, xid)
        }
      }),
    )
  })
})
