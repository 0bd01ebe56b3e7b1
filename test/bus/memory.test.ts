import { afterEach, expect, it, vi } from 'vitest'
import { createBus } from '../../src/foundation/bus/bus.ts'
import { silentLogger } from '../../src/foundation/log.ts'
import { describeBus } from './bus-suite.ts'
import { eventSource, newId } from './sample-events.ts'

afterEach(() => void vi.useRealTimers())

describeBus('memory', async () => {
  const bus = await createBus({ transport: 'memory', log: silentLogger })
  return { open: async () => bus, publish: (_, events) => bus.publish(events), close: async () => {} }
})

it('a memory bus makes the publisher wait for a subscriber that hangs, and refuses events in the end', async () => {
  const bus = await createBus({ transport: 'memory', log: silentLogger })
  await bus.start()
  const hang = Promise.withResolvers<void>()
  const heard: string[] = []
  await bus.subscribe(() => hang.promise)
  await bus.subscribe((event) => void heard.push(event.id))
  const make = eventSource()
  const batch = () => Array.from({ length: 10_000 }, () => make(newId()))
  await bus.publish(batch())
  await bus.publish(batch())

  vi.useFakeTimers()
  const refused = expect(bus.publish(batch())).rejects.toMatchObject({ code: 'BUS_UNREACHABLE', kind: 'retryable' })
  await vi.advanceTimersByTimeAsync(5_000)
  await refused
  vi.useRealTimers()
  expect(heard).toHaveLength(20_000)

  const published = bus.publish(batch())
  hang.resolve()
  await published
  await expect.poll(() => heard.length).toBe(30_000)
  await bus.stop()
})
