import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type LeaseRow, planLeases } from './lease-plan.ts'

const ME = 'me'

/** Sixteen partitions with these owners; a `!` in front marks a lease that has run out. */
function table(...owners: (string | null)[]): LeaseRow[] {
  return Array.from({ length: 16 }, (_, partition) => {
    const owner = owners[partition] ?? null
    return {
      partition,
      owner: owner?.replace('!', '') ?? null,
      leaseToken: 7,
      live: owner !== null && !owner.startsWith('!'),
    }
  })
}
const times = (count: number, owner: string) => Array.from({ length: count }, () => owner)
const heldIn = (rows: readonly LeaseRow[]) =>
  new Map(rows.filter((row) => row.owner === ME).map((row) => [row.partition, row.leaseToken]))
const partitions = (rows: readonly LeaseRow[]) => rows.map((row) => row.partition)

describe('sharing of partitions', () => {
  it('gives all to a relay that is alone', () => {
    expect(planLeases(table(), ME, new Map()).take).toHaveLength(16)
  })

  it('leaves a relay that has them all alone', () => {
    const rows = table(...times(16, ME))
    expect(planLeases(rows, ME, heldIn(rows))).toEqual({ take: [], release: [] })
  })

  it('takes those of a relay whose leases have run out', () => {
    const rows = table(...times(8, ME), ...times(8, '!dead'))
    expect(partitions(planLeases(rows, ME, heldIn(rows)).take)).toEqual([8, 9, 10, 11, 12, 13, 14, 15])
  })

  it('lets a newcomer take a single one from whoever has most', () => {
    const rows = table(...times(5, 'a'), ...times(11, 'b'))
    expect(planLeases(rows, ME, new Map())).toEqual({ take: [rows[15]], release: [] })
  })

  it('gives up what is beyond its share once the newcomer is seen', () => {
    const rows = table(...times(15, ME), 'newcomer')
    const { take, release } = planLeases(rows, ME, heldIn(rows))
    expect(take).toEqual([])
    expect(partitions(release)).toEqual([8, 9, 10, 11, 12, 13, 14])
  })

  it('takes no more than its share of free ones', () => {
    const rows = table(...times(2, 'a'))
    expect(planLeases(rows, ME, new Map()).take).toHaveLength(8)
  })

  it('takes anew what is its own by name but was forgotten after an error', () => {
    const rows = table(...times(16, ME))
    expect(planLeases(rows, ME, new Map()).take).toHaveLength(16)
  })

  it('does not believe in a partition that another relay has had in between', () => {
    const rows = table(...times(16, ME))
    expect(partitions(planLeases(rows, ME, new Map([[3, 6]])).take)).toContain(3)
  })

  it('leaves one partition each to sixteen relays, and none to a seventeenth', () => {
    const rows = table(...Array.from({ length: 16 }, (_, i) => `relay ${i}`))
    expect(planLeases(rows, ME, new Map())).toEqual({ take: [], release: [] })
  })

  it('comes to a fair share of all partitions in a few rounds, however it begins', () => {
    const start = fc.array(fc.option(fc.constantFrom('a', 'b', 'c', 'gone')), { minLength: 16, maxLength: 16 })
    fc.assert(
      fc.property(start, fc.integer({ min: 1, max: 20 }), (owners, count) => {
        const relays = Array.from({ length: count }, (_, i) => String.fromCharCode(97 + i))
        let rows = table(...owners).map((row) => ({ ...row, live: row.owner !== null && relays.includes(row.owner) }))
        const held = (self: string) =>
          new Map(rows.filter((row) => row.owner === self).map((row) => [row.partition, row.leaseToken]))
        for (let round = 0; round < 8; round++) {
          for (const self of relays) {
            const { take, release } = planLeases(rows, self, held(self))
            rows = rows.map((row) => {
              if (take.some((taken) => taken.partition === row.partition)) return { ...row, owner: self, live: true }
              if (release.some((given) => given.partition === row.partition))
                return { ...row, owner: null, live: false }
              return row
            })
          }
        }
        const shares = relays.map((self) => held(self).size)
        expect(shares.reduce((sum, share) => sum + share, 0)).toBe(16)
        expect(Math.max(...shares)).toBeLessThanOrEqual(Math.ceil(16 / Math.min(count, 16)))
        if (count <= 16) expect(Math.min(...shares)).toBeGreaterThanOrEqual(1)
      }),
    )
  })
})
