import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Bus, Hear, SubscribeOptions, Subscription } from '../../src/foundation/bus/bus.ts'
import type { EventEnvelope } from '../../src/foundation/events/events.ts'
import { eventSource, newId } from './sample-events.ts'

/** A transport as the suite sees it. */
export interface TransportUnderTest {
  /** As another process would open it; a transport within one process opens the same one again. */
  open(): Promise<Bus>
  /** Publishes as a relay does. */
  publish(bus: Bus, events: readonly EventEnvelope[]): Promise<void>
  close(): Promise<void>
}

/** What every transport promises. */
export function describeBus(name: string, connect: () => Promise<TransportUnderTest>): void {
  describe(`the ${name} transport`, () => {
    let transport: TransportUnderTest
    let here: Bus
    let there: Bus
    let subscriptions: Subscription[]

    beforeEach(async () => {
      transport = await connect()
      here = await transport.open()
      there = await transport.open()
      subscriptions = []
      await Promise.all([here.start(), there.start()])
    })
    afterEach(async () => {
      await Promise.all(subscriptions.map((subscription) => subscription.close()))
      await Promise.all([here.stop(), there.stop()])
      await transport.close()
    })

    const subscribe = async (bus: Bus, hear: Hear, options?: SubscribeOptions) => {
      const subscription = await bus.subscribe(hear, options)
      subscriptions.push(subscription)
      return subscription
    }
    /** The ids of what a new subscriber hears. */
    const listen = async (bus: Bus) => {
      const heard: EventEnvelope[] = []
      await subscribe(bus, (event) => void heard.push(event))
      return heard
    }
    const run = (events: readonly EventEnvelope[], runId: string) =>
      events.filter((event) => event.runId === runId).map((event) => event.id)

    it('delivers the events of each run in order to every subscriber in every process', async () => {
      const audience = await Promise.all([listen(here), listen(here), listen(there)])
      const make = eventSource()
      const runs = Array.from({ length: 20 }, newId)
      const events = Array.from({ length: 2_000 }, (_, i) => make(runs[i % runs.length] as string, { i }))
      for (let i = 0; i < events.length; i += 250) await transport.publish(here, events.slice(i, i + 250))
      for (const heard of audience) {
        await expect.poll(() => heard.length).toBe(events.length)
        for (const runId of runs) expect(run(heard, runId)).toEqual(run(events, runId))
      }
    })

    it('delivers an event as it was published', async () => {
      const heard = await listen(there)
      const event = eventSource()(newId(), {
        text: 'NUL \u0000, half \ud800, \u001b[1m',
        list: [1.5, null, { 'ä"\\': {} }],
      })
      await transport.publish(here, [event])
      await expect.poll(() => heard.length).toBe(1)
      expect(heard[0]?.toJSON()).toEqual(event.toJSON())
    })

    it('delivers nothing from before the subscription', async () => {
      const make = eventSource()
      const runId = newId()
      await transport.publish(here, [make(runId), make(runId)])
      const heard = await listen(here)
      const event = make(runId)
      await transport.publish(here, [event])
      await expect.poll(() => heard.length).toBe(1)
      expect(heard[0]?.id).toBe(event.id)
    })

    it('delivers nothing more once a subscription is closed, and goes on for the others', async () => {
      const left = await listen(here)
      const heard: string[] = []
      const subscription = await subscribe(here, (event) => void heard.push(event.id))
      const make = eventSource()
      const runId = newId()
      await transport.publish(here, [make(runId)])
      await expect.poll(() => heard.length).toBe(1)
      await subscription.close()
      await transport.publish(here, [make(runId)])
      await expect.poll(() => left.length).toBe(2)
      expect(heard).toHaveLength(1)
    })

    it('lets a subscriber finish one event before it gets the next, and when it is closed', async () => {
      let hearing = 0
      let overlaps = 0
      let finished = 0
      const subscription = await subscribe(here, async () => {
        if (++hearing > 1) overlaps++
        await new Promise((resolve) => setTimeout(resolve, 5))
        hearing--
        finished++
      })
      const make = eventSource()
      await transport.publish(
        here,
        Array.from({ length: 50 }, () => make(newId())),
      )
      await expect.poll(() => hearing).toBe(1)
      await subscription.close()
      expect(hearing).toBe(0)
      expect(overlaps).toBe(0)
      expect(finished).toBeLessThan(50)
    })

    it('goes on after a subscriber has failed on an event', async () => {
      let calls = 0
      await subscribe(here, () => {
        calls++
        throw new Error('no, thank you')
      })
      await subscribe(here, async () => {
        throw new Error('not that either')
      })
      const heard = await listen(here)
      const make = eventSource()
      const runId = newId()
      await transport.publish(here, [make(runId), make(runId), make(runId)])
      await expect.poll(() => heard.length).toBe(3)
      await expect.poll(() => calls).toBe(3)
    })

    it('may be started and stopped twice, and started again', async () => {
      await here.start()
      expect(here.healthy).toBe(true)
      await Promise.all([here.stop(), here.stop()])
      expect(here.healthy).toBe(false)
      await here.start()
      expect(here.healthy).toBe(true)
      const heard = await listen(here)
      await transport.publish(here, [eventSource()(newId())])
      await expect.poll(() => heard.length).toBe(1)
    })
  })
}
