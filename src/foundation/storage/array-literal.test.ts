import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { jsonArray, plainArray, textArray } from './array-literal.ts'

/** Reads a one-dimensional literal as PostgreSQL does. */
function read(literal: string): (string | null)[] {
  const elements: (string | null)[] = []
  for (const match of literal.slice(1, -1).matchAll(/"((?:[^"\\]|\\[\s\S])*)"|([^,"]+)/g)) {
    if (match[1] !== undefined) elements.push(match[1].replace(/\\([\s\S])/g, '$1'))
    else elements.push(match[2] === 'NULL' ? null : (match[2] ?? ''))
  }
  return elements
}

describe('array literals', () => {
  it('carry any text unchanged', () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.string({ unit: 'binary' }))), (texts) => {
        expect(read(textArray(texts))).toEqual(texts)
      }),
    )
  })

  it('carry any JSON text unchanged', () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.jsonValue())), (values) => {
        const texts = values.map((value) => (value === null ? null : JSON.stringify(value)))
        expect(read(jsonArray(texts))).toEqual(texts)
      }),
    )
  })

  it('carry plain values and nulls', () => {
    expect(plainArray([1, null, 2n, 'EXECUTING', true])).toBe('{1,NULL,2,EXECUTING,true}')
  })
})
