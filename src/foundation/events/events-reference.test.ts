import { expect, it } from 'vitest'
import { eventTypes } from './event-types.ts'
import { eventsReference } from './events-reference.ts'

it('describes every event type with its fields', () => {
  const reference = eventsReference()
  for (const [type, { when, data }] of Object.entries(eventTypes)) {
    expect(reference).toContain(`## ${type}\n\n${when}\n`)
    for (const field of Object.keys(data)) expect(reference).toContain(`| \`${field}\` |`)
  }
})
