import { expect, it } from 'vitest'
import { EventEnvelope } from './envelope.ts'
import { outgoingEvents } from './outgoing.ts'
import { envelopesOf, type OutboxRow } from './unpack.ts'

const RUN = '01a20295-196c-70cf-aa17-f91fa1c005fb'
const event = (data: unknown, id = '01a20295-1a06-70e9-9123-1d38dcc99d51') =>
  JSON.stringify({ id, type: 'run.completed', time: '2026-11-22T09:27:35.692Z', data })
const row = (events: string, count: number): OutboxRow => {
  return { tenant_id: 'a "tenant"\n', run_id: RUN, partition: 11, event_count: count, events }
}

it.each([
  ['as we write it', row(`[${event({ a: 1 })},\n${event('},\n{"id":"x')},\n${event(null)}]`, 3)],
  ['of one event', row(`[${event([])}]`, 1)],
  ['on one line', row(`[${event({})},${event({ b: [] })}]`, 2)],
  ['with a line feed inside an event', row(`[${event({}).replace('{}', '{"a":{},\n"b":{}}')},\n${event(1)}]`, 2)],
  ['that somebody has set in lines', row(JSON.stringify([JSON.parse(event({ a: [1, 2] }))], null, 2), 1)],
  ['with what is no event', row(`[{"id":"x"},\n${event({})}]`, 2)],
  ['with too few events', row(`[${event({})}]`, 2)],
  ['that is no list', row('{"id":1}', 1)],
])('takes the same from a row %s as its parts say', (_, stored) => {
  const outgoing = outgoingEvents(stored, 7)
  const expected = envelopesOf(stored, 7)
  expect(outgoing.map(({ envelope }) => envelope)).toEqual(expected)
  expect(outgoing.map(({ text }) => JSON.parse(text))).toEqual(JSON.parse(JSON.stringify(expected)))
  expect(outgoing.map(({ partition }) => partition)).toEqual(expected.map(({ partition }) => partition))
  for (const { text } of outgoing) expect(EventEnvelope.parse(text).toJSON()).toEqual(JSON.parse(text))
})
