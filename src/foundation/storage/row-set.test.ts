import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { rowSet } from './row-set.ts'

/** Reads a one-dimensional literal as PostgreSQL does. */
function read(literal: string | undefined): (string | null)[] {
  const elements: (string | null)[] = []
  for (const match of (literal ?? '').slice(1, -1).matchAll(/"((?:[^"\\]|\\[\s\S])*)"|([^,"]+)/g)) {
    if (match[1] !== undefined) elements.push(match[1].replace(/\\([\s\S])/g, '$1'))
    else elements.push(match[2] === 'NULL' ? null : (match[2] ?? ''))
  }
  return elements
}

describe('a row set', () => {
  const texts = rowSet<string | null>({ text: ['text', (text) => text] })
  const jsons = rowSet<string | null>({ json: ['json', (json) => json] })

  it('carries any text unchanged', () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.string({ unit: 'binary' }))), (rows) => {
        expect(read(texts.values(rows)[0])).toEqual(rows)
      }),
    )
  })

  it('carries any JSON text unchanged', () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.jsonValue())), (values) => {
        const rows = values.map((value) => (value === null ? null : JSON.stringify(value)))
        expect(read(jsons.values(rows)[0])).toEqual(rows)
      }),
    )
  })

  it('writes numbers, words, times and nulls as they are, one array a column', () => {
    const set = rowSet<{ n: bigint | null; state: string; at: Date }>({
      n: ['bigint', (row) => row.n],
      state: ['word', (row) => row.state],
      at: ['timestamptz', (row) => row.at],
    })
    const at = new Date('2026-01-02T03:04:05.678Z')
    const rows = [
      { n: 1n, state: 'EXECUTING', at },
      { n: null, state: 'EXECUTING', at: new Date(0) },
      { n: 1n, state: 'FAILED', at },
    ]
    expect(set.values(rows)).toEqual([
      '{1,NULL,1}',
      '{EXECUTING,EXECUTING,FAILED}',
      '{2026-01-02T03:04:05.678Z,1970-01-01T00:00:00.000Z,2026-01-02T03:04:05.678Z}',
    ])
    expect(set.values([])).toEqual(['{}', '{}', '{}'])
  })

  it('reads as a table of its columns', () => {
    const set = rowSet<number>({ a: ['int', (n) => n], b: ['word', String] })
    expect(set.names).toBe('a, b')
    expect(set.from(3)).toBe('(select unnest($3::int[]) as a, unnest($4::text[]) as b)')
  })
})
