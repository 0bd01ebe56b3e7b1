import { expect, it } from 'vitest'
import { createIdSource, isId } from '../ids.ts'
import { eventTypes } from './event-types.ts'
import { eventIdsAt, type RunEvent } from './outbox.ts'

it('what a run tells of one moment has an id a type, and no other run’s', () => {
  const newId = createIdSource()
  const at = new Date('2026-11-22T18:00:00.123Z')
  const types = Object.keys(eventTypes) as RunEvent['type'][]
  const ids = [newId(), newId()].flatMap((runId) => types.map(eventIdsAt(runId, at)))
  expect(ids.every(isId)).toBe(true)
  expect(new Set(ids).size).toBe(2 * types.length)
  expect(Number.parseInt((ids[0] ?? '').replace('-', '').slice(0, 12), 16)).toBe(at.getTime())
})
