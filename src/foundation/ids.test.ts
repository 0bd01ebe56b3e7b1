import { describe, expect, it } from 'vitest'
import { createIdSource, hash32, isId, partitionOf } from './ids.ts'

const newId = createIdSource()

describe('ids', () => {
  it('are UUIDv7 in one spelling', () => {
    const id = newId()
    expect(isId(id)).toBe(true)
    expect(isId(id.toUpperCase())).toBe(false)
    expect(isId('5c3a1b50-0000-4000-8000-000000000000')).toBe(false)
    expect(isId(`${id}\n`)).toBe(false)
    expect(isId('../../etc/passwd')).toBe(false)
  })

  it('made one after the other sort in that order, also within a millisecond', () => {
    const ids = Array.from({ length: 20_000 }, newId)
    expect(ids.findIndex((id, i) => id <= (ids[i - 1] ?? ''))).toBe(-1)
  })

  it('spread runs evenly over 16 partitions', () => {
    const counts = new Array<number>(16).fill(0)
    for (let i = 0; i < 16_000; i++) counts[partitionOf(newId())]! += 1
    for (const count of counts) expect(count).toBeGreaterThan(800)
  })

  it('decide their partition by the last hex digit, and refuse what is no id', () => {
    expect(partitionOf('01890000-0000-7000-8000-00000000000b')).toBe(11)
    expect(() => partitionOf('run/xyz')).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }))
    expect(() => partitionOf('')).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }))
  })

  it('hash as FNV-1a does', () => {
    expect(hash32('')).toBe(0x811c9dc5)
    expect(hash32('a')).toBe(0xe40c292c)
    expect(hash32('foobar')).toBe(0xbf9cf968)
  })
})
