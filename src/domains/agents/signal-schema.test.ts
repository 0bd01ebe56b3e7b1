import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { Json, JsonObject } from '../../foundation/json.ts'
import { SignalSchemas } from './signal-schema.ts'

const schemas = new SignalSchemas()

describe('a signal’s payload', () => {
  it.each<[string, z.ZodType, readonly Json[], readonly Json[]]>([
    ['texts', z.string().min(2).regex(/^x/), ['xy'], ['x', 'ay', 1, null]],
    [
      'formats',
      z.object({ at: z.iso.datetime(), mail: z.email() }),
      [{ at: '2026-01-02T03:04:05Z', mail: 'a@b.ch' }],
      [{ at: 'now', mail: 'a@b.ch' }],
    ],
    ['numbers', z.int().positive(), [1], [0, 1.5, '1']],
    [
      'choices',
      z.discriminatedUnion('kind', [
        z.object({ kind: z.literal('a'), n: z.number() }),
        z.object({ kind: z.literal('b') }),
      ]),
      [{ kind: 'b' }, { kind: 'a', n: 1 }],
      [{ kind: 'a' }, { kind: 'c' }],
    ],
    ['defaults', z.object({ n: z.number().default(3) }), [{}, { n: 1 }], [{ n: 'x' }]],
    ['strict objects', z.strictObject({ a: z.boolean() }), [{ a: true }], [{ a: true, b: 1 }, {}]],
    [
      'records and lists',
      z.record(z.string(), z.array(z.number()).max(2)),
      [{ a: [1, 2] }],
      [{ a: [1, 2, 3] }, { a: 1 }],
    ],
    ['tuples', z.tuple([z.string(), z.number()]), [['a', 1]], [['a'], ['a', 1, 2]]],
    ['transforms, by what goes in', z.string().transform(Number), ['12'], [12]],
    ['dates, which JSON has no word for, by the agent alone', z.any(), [1], []],
  ])('is held against zod the same by sender and agent: %s', (_, schema, fit, misfit) => {
    const { json, parse } = schemas.read('it', schema)
    for (const payload of fit) {
      expect(() => schemas.check('it', json!, payload)).not.toThrow()
      expect(() => parse(payload)).not.toThrow()
    }
    for (const payload of misfit) {
      expect(() => schemas.check('it', json!, payload)).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }))
      expect(() => parse(payload)).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }))
    }
  })

  it.each<[JsonObject, Json]>([
    [{ type: 'object', required: ['a'] }, {}],
    [{ minimum: 3 }, 1],
    [{ enum: [{ a: 1 }] }, { a: 2 }],
    [{ not: { type: 'string' } }, 'x'],
    [{ dependentRequired: { a: ['b'] } }, { a: 1 }],
    [{ type: 'array', items: { $ref: '#/$defs/n' }, $defs: { n: { type: 'number' } } }, [1, 'x']],
  ])('is held against all of JSON Schema: %j', (schema, misfit) => {
    expect(() => schemas.read('it', schema).parse(misfit)).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }))
  })

  it('that does not fit is told by field', () => {
    const schema = {
      type: 'object',
      properties: { items: { type: 'array', items: { type: 'object', required: ['price'] } } },
    }
    expect(() => schemas.check('cart', schema, { items: [{ price: 1 }, {}] })).toThrow(
      `The payload of signal "cart" does not fit: items[1]: must have required property 'price'`,
    )
  })

  it.each<[string, unknown]>([
    ['a type that is none', { type: 'strang' }],
    ['a reference to nowhere', { $ref: '#/nowhere' }],
    ['no schema at all', 5],
    ['more than 65,536 characters', { description: 'x'.repeat(65_536) }],
  ])('is never held against %s: the wait is refused', (_, schema) => {
    expect(() => schemas.read('it', schema as JsonObject)).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }))
  })

  it('may be held against two schemas of one $id', () => {
    const first = schemas.read('it', { $id: 'https://example.com/s', type: 'string' })
    const second = schemas.read('it', { $id: 'https://example.com/s', type: 'number' })
    expect([first.parse('x'), second.parse(1)]).toEqual(['x', 1])
  })
})
