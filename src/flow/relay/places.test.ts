import { describe, expect, it } from 'vitest'
import { type Held, markedPlaces, placeRows, withRows } from './places.ts'
import type { ChosenRow } from './turn-store.ts'

const held: Held = new Map([
  [3, { partition: 3, leaseToken: 1, nextPosition: 10, inFlight: [], floor: 5n }],
  [4, { partition: 4, leaseToken: 2, nextPosition: 1, inFlight: [], floor: 5n }],
])
const row = (partition: number, outboxId: number, eventCount = 1): ChosenRow => ({
  tenant_id: 'default',
  run_id: `run ${outboxId}`,
  partition,
  outbox_id: BigInt(outboxId),
  event_count: eventCount,
  events: '[]',
  ctid: '(0,1)',
  is_marked: false,
})

describe('the places of outbox rows', () => {
  it('follow each other without a gap in each partition, in the order of the commits', () => {
    const placed = placeRows(held, [row(4, 30), row(3, 21, 4), row(3, 20, 2), row(3, 22)])
    expect(placed.map(({ partition, outbox_id, position }) => [partition, outbox_id, position])).toEqual([
      [3, 20n, 10],
      [3, 21n, 12],
      [3, 22n, 16],
      [4, 30n, 1],
    ])
  })

  it('begin, once rows are marked, after the last event of these', () => {
    const rows = placeRows(held, [row(3, 20, 2), row(3, 21, 3)])
    const inFlight = withRows(held, rows, { rowsEach: 31, settled: 8n })
    expect(inFlight.get(3)).toMatchObject({ nextPosition: 10, inFlight: [20n, 21n] })
    const marked = markedPlaces(inFlight, rows)
    expect(marked.get(3)).toMatchObject({ nextPosition: 15, inFlight: [] })
    expect(marked.get(4)).toMatchObject({ nextPosition: 1 })
  })

  it('let the search go on from what is settled, unless it was cut before that', () => {
    const rows = placeRows(held, [row(3, 6), row(3, 7), row(4, 6)])
    const next = withRows(held, rows, { rowsEach: 2, settled: 100n })
    expect(next.get(3)?.floor).toBe(7n)
    expect(next.get(4)?.floor).toBe(100n)
  })

  it('never lower a floor: another relay knew more than this one does yet', () => {
    expect(withRows(held, [], { rowsEach: 2, settled: 0n }).get(3)?.floor).toBe(5n)
  })

  it('leave the floor of a partition that finishes what another relay began: it was not searched', () => {
    const taken: Held = new Map([[3, { partition: 3, leaseToken: 9, nextPosition: 10, inFlight: [50n], floor: 7n }]])
    const next = withRows(taken, placeRows(taken, [row(3, 50)]), { rowsEach: 31, settled: 100n })
    expect(next.get(3)).toMatchObject({ inFlight: [50n], floor: 7n })
  })
})
