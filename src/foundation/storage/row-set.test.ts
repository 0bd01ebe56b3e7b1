import { describe, expect, it } from 'vitest'
import { rowSet } from './row-set.ts'

interface Reading {
  readonly sensor: string
  readonly value: number | null
}

const READINGS = rowSet<Reading>({ sensor: ['text', (row) => row.sensor], value: ['int', (row) => row.value] })

describe('a row set', () => {
  it('reads as a table of its columns', () => {
    expect(READINGS.names).toBe('sensor, value')
    expect(READINGS.from(3)).toBe('(select unnest($3::text[]) as sensor, unnest($4::int[]) as value)')
  })

  it('writes each column as one array in the binary format of PostgreSQL', () => {
    const [sensors, values] = READINGS.values([
      { sensor: 'ä', value: -2 },
      { sensor: '', value: null },
    ]).map((bytes) => bytes.toString('hex'))
    const header = (oid: string) => `${'00000001'}${'00000001'}${oid}${'00000002'}${'00000001'}`
    expect(sensors).toBe(`${header('00000019')}${'00000002c3a4'}${'00000000'}`)
    expect(values).toBe(`${header('00000017')}${'00000004fffffffe'}${'ffffffff'}`)
  })

  it('writes no rows as empty arrays', () => {
    expect(READINGS.values([]).map((bytes) => bytes.toString('hex'))).toEqual([
      '000000000000000100000019',
      '000000000000000100000017',
    ])
  })

  it('grows with what it carries', () => {
    const long = 'x'.repeat(100_000)
    const [sensors] = READINGS.values([{ sensor: long, value: 1 }])
    expect(sensors?.subarray(24).toString()).toBe(long)
  })
})
