import { describe, expect, it } from 'vitest'
import { AppError } from '../app-error.ts'
import { EventEnvelope } from './envelope.ts'

const MESSAGE = {
  specversion: '1.0',
  id: '0198c0de-0000-7000-8000-000000000001',
  source: '/concordat',
  type: 'run.completed',
  time: '2026-01-02T03:04:05.678Z',
  subject: '0198c0de-0000-7000-8000-00000000000a',
  tenantid: 'default',
  partition: 10,
  position: '42',
  data: { status: 'succeeded', nested: [{ deep: true }] },
}

const refusal = (message: string | Uint8Array): AppError => {
  try {
    EventEnvelope.parse(message)
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
  throw new Error('was not refused')
}

describe('an event envelope', () => {
  it('reads a CloudEvents message and writes the same one', () => {
    const event = EventEnvelope.parse(JSON.stringify(MESSAGE))
    expect(event).toMatchObject({
      id: MESSAGE.id,
      type: 'run.completed',
      tenantId: 'default',
      partition: 10,
      position: 42,
    })
    expect(event.runId).toBe(MESSAGE.subject)
    expect(event.subject).toBe(MESSAGE.subject)
    expect(JSON.parse(JSON.stringify(event))).toEqual(MESSAGE)
    expect(EventEnvelope.parse(Buffer.from(JSON.stringify(event)))).toEqual(event)
  })

  it('keeps NUL, lone surrogates and control characters', () => {
    const data = { text: 'a\u0000b\ud800c\u001b' }
    const text = JSON.stringify(EventEnvelope.parse(JSON.stringify({ ...MESSAGE, data })))
    expect(EventEnvelope.parse(text).data).toEqual(data)
  })

  it('reads the position as a number too, as it was written once', () => {
    expect(EventEnvelope.parse(JSON.stringify({ ...MESSAGE, position: 42 })).position).toBe(42)
    expect(EventEnvelope.parse(JSON.stringify({ ...MESSAGE, position: '9007199254740991' })).position).toBe(2 ** 53 - 1)
  })

  it('ignores attributes that it does not know', () => {
    const event = EventEnvelope.parse(JSON.stringify({ ...MESSAGE, traceparent: '00-1-2-03', type: 'from.the.future' }))
    expect(event.type).toBe('from.the.future')
    expect(JSON.stringify(event)).not.toContain('traceparent')
  })

  it.each(['2026-01-02T03:04:05Z', '2026-01-02T03:04:05.678901Z', '2026-01-02T05:04:05.678+02:00'])(
    'keeps the time of another version as it is written: %s',
    (time) => {
      expect(EventEnvelope.parse(JSON.stringify({ ...MESSAGE, time })).time).toBe(time)
    },
  )

  it('reads a message without data as one with null', () => {
    const { data: _, ...message } = MESSAGE
    expect(EventEnvelope.parse(JSON.stringify(message)).data).toBeNull()
  })

  it.each([
    ['no JSON', 'hello'],
    ['nothing', ''],
    ['a JSON value that is no object', '[1]'],
    ['null', 'null'],
    ['another specversion', JSON.stringify({ ...MESSAGE, specversion: '0.3' })],
    ['no subject', JSON.stringify({ ...MESSAGE, subject: undefined })],
    ['an empty id', JSON.stringify({ ...MESSAGE, id: '' })],
    ['an id of 2,000 characters', JSON.stringify({ ...MESSAGE, id: 'x'.repeat(2_000) })],
    ['a time that is none', JSON.stringify({ ...MESSAGE, time: 'yesterday' })],
    ['a time in the thirteenth month', JSON.stringify({ ...MESSAGE, time: '2026-13-02T03:04:05.678Z' })],
    ['a time without a zone', JSON.stringify({ ...MESSAGE, time: '2026-01-02T03:04:05.678' })],
    ['a partition beyond the last', JSON.stringify({ ...MESSAGE, partition: 16 })],
    ['position 0', JSON.stringify({ ...MESSAGE, position: 0 })],
    ['a position that is no number', JSON.stringify({ ...MESSAGE, position: '0x2a' })],
    ['a position that no number can hold', JSON.stringify({ ...MESSAGE, position: '9999999999999999' })],
    ['a subject that is no run', JSON.stringify({ ...MESSAGE, subject: "'; drop table runs" })],
    ['the partition of another run', JSON.stringify({ ...MESSAGE, partition: 3 })],
    ['bytes that are not UTF-8', Buffer.from([0x7b, 0xff, 0x7d])],
    ['100,000 levels', `${'['.repeat(100_000)}${']'.repeat(100_000)}`],
  ])('refuses %s', (_, message) => {
    expect(refusal(message).code).toBe('INVALID_INPUT')
  })

  it('refuses data that nests deeper than 2,000 levels, and takes brackets in strings for what they are', () => {
    const nested = (levels: number) => `${'['.repeat(levels)}"\\"]["${']'.repeat(levels)}`
    const message = (data: string) => JSON.stringify({ ...MESSAGE, data: 0 }).replace('"data":0', `"data":${data}`)
    expect(EventEnvelope.parse(message(nested(1_000))).type).toBe('run.completed')
    expect(refusal(message(nested(2_001))).message).toContain('2000 levels')
    expect(EventEnvelope.parse(message(JSON.stringify('['.repeat(5_000)))).data).toHaveLength(5_000)
  })

  it('refuses a message over 1 MiB, counted in bytes', () => {
    const large = JSON.stringify({ ...MESSAGE, data: 'é'.repeat(530_000) })
    expect(large.length).toBeLessThan(1_048_576)
    expect(refusal(large).code).toBe('INPUT_TOO_LARGE')
    expect(refusal(Buffer.alloc(1_048_577)).code).toBe('INPUT_TOO_LARGE')
  })
})
