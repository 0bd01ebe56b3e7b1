import { describe, expect, it } from 'vitest'
import { EventEnvelope } from '../../foundation/events/events.ts'
import { EventWindow } from './event-window.ts'

const event = (position: number, id = `event ${position}`) =>
  new EventEnvelope({
    id,
    type: 'run.started',
    time: '2026-01-01T00:00:00Z',
    runId: '0198c0de-0000-7000-8000-00000000000a',
    tenantId: 'default',
    partition: 10,
    position,
    data: null,
  })
const ids = (window: EventWindow) => window.after(window.base - 1, window.end, 100).map(({ id }) => id)

describe('the window on a partition', () => {
  it('takes events in order, each once, whatever order they come in', () => {
    const window = new EventWindow(4)
    window.confirm(9)
    for (const position of [5, 7, 5, 9, 6, 3, 8, 6]) window.put(event(position))
    expect(ids(window)).toEqual([5, 6, 7, 8, 9].map((position) => `event ${position}`))
    expect(window.hasAhead).toBe(false)
  })

  it('waits until the relay is known to have given a place away', () => {
    const window = new EventWindow(0)
    expect(window.put(event(1))).toBe(false)
    expect(window.wantsConfirmation).toBe(true)
    expect(window.confirm(1)).toBe(true)
    expect(ids(window)).toEqual(['event 1'])
  })

  it('takes an event that somebody made up for a place that is not given away yet for none', () => {
    const window = new EventWindow(0)
    window.put(event(1, 'made up'))
    window.put(event(1))
    window.put(event(1, 'made up'))
    window.confirm(1)
    expect(ids(window)).toEqual([])
    window.sees(1)
    expect(window.isBehind).toBe(true)
    window.append(event(1))
    expect(ids(window)).toEqual(['event 1'])
  })

  it('drops what claims a place that was not given away when the relay was asked', () => {
    const window = new EventWindow(0)
    window.put(event(1, 'made up'))
    window.put(event(7, 'made up too'))
    const { arrivals } = window
    window.put(event(2))
    window.confirm(0, arrivals)
    window.put(event(1))
    window.confirm(9)
    expect(ids(window)).toEqual(['event 1', 'event 2'])
    expect(window.hasAhead).toBe(false)
  })

  it('keeps a bounded number of events that came early, however far ahead', () => {
    const window = new EventWindow(0)
    for (let i = 0; i < 10_000; i++) window.put(event(Number.MAX_SAFE_INTEGER - i))
    expect(window.isBehind).toBe(false)
    expect(window.dropAhead()).toBe(5_000)
  })

  it('forgets what all have had, and begins anew after a hole in the outbox', () => {
    const window = new EventWindow(0)
    window.confirm(3)
    for (const position of [1, 2, 3]) window.put(event(position))
    window.forget(2)
    expect(ids(window)).toEqual(['event 3'])
    window.skipTo(20)
    window.append(event(21))
    expect([window.base, ...ids(window)]).toEqual([21, 'event 21'])
  })
})
