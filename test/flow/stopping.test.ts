import { beforeAll, expect, it } from 'vitest'
import { defineAgent } from '../../src/index.ts'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'
import { endingOf, eventCounts, eventsOfEnded, FIVE_ACKS, successAcks, walked } from './support/footprint.ts'
import { Gates } from './support/gate.ts'

/** Of the suite that runs: the next one, on another database, begins anew. */
let gates = new Gates()

const works = defineAgent({ name: 'works', version: '1', run: ({ step }) => step.do('answer', () => 42) })

/** Holds in a step until it is stopped, or ignores that. */
const holds = defineAgent<string>({
  name: 'holds',
  version: '1',
  async run({ input, step }) {
    await step.do('before', () => 'done')
    await step.do('hold', async ({ signal }) => {
      await gates.at(input).pass(input.startsWith('ignore') ? undefined : signal)
      return 'late'
    })
  },
})

const waits = defineAgent({ name: 'waits', version: '1', run: ({ step }) => step.sleep('long', 3_600_000) })

describeOnDatabases('a run that a person stops', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    gates = new Gates()
    runtime = await open({ agents: [works, holds, waits], stopGraceMs: 1_000 })
  })

  const submit = (agent: string, request: object = {}) => runtime.runs.submit({ tenant: 'default', agent, ...request })
  const run = async (agent: string) => runtime.ended(await submit(agent))
  const cancelled = {
    status: 'cancelled',
    phase: 'FAILED',
    reason: 'RUN_STOPPED',
    incident: 'PARTIAL',
    trace: 'ABORTED',
    event: 'run.failed',
  }
  const stop = (handle: { tenantId: string; runId: string }) => {
    return runtime.runs.stop(handle.tenantId, handle.runId, { by: 'ada', why: 'enough' })
  }

  it('while queued: at once, without a step', async () => {
    const handle = await submit('works', { runAt: new Date(Date.now() + 3_600_000) })
    expect(await stop(handle)).toBe('cancelled')
    const ended = await runtime.ended(handle)
    expect(endingOf(ended)).toMatchObject(cancelled)
    expect(walked(ended)).toEqual(['→CREATED', 'CREATED→AUTHORIZED', 'AUTHORIZED→FAILED'])
    expect(successAcks(ended)).toEqual(FIVE_ACKS)
  })

  it('while a step runs: its signal aborts, its output is not recorded, requested → delivered → confirmed', async () => {
    const handle = await submit('holds', { input: 'stop-running' })
    await gates.at('stop-running').reached
    expect(await stop(handle)).toBe('requested')
    const ended = await runtime.ended(handle)
    expect(endingOf(ended)).toMatchObject(cancelled)
    expect(ended.stop).toMatchObject({ by: 'ada', why: 'enough' })
    const { requestedAt = '', deliveredAt = '', confirmedAt = '' } = { ...ended.stop }
    expect([requestedAt, deliveredAt, confirmedAt].map((at) => Number.isNaN(Date.parse(String(at))))).toEqual([
      false,
      false,
      false,
    ])
    expect(ended.steps.map(({ key, status }) => [key, status])).toEqual([
      ['before#1', 'succeeded'],
      ['hold#1', 'started'],
    ])
    expect(ended.incident?.message).toBe('stopped by ada: enough')
    expect(eventCounts(ended)).toEqual({ ...eventsOfEnded('run.failed'), 'run.stop_requested': 1 })
  })

  it('while it waits: at once', async () => {
    const handle = await submit('waits')
    await expect.poll(async () => (await runtime.runs.get('default', handle.runId)).waiting).toBe('TIMER')
    expect(await stop(handle)).toBe('cancelled')
    expect(endingOf(await runtime.ended(handle))).toMatchObject(cancelled)
  })

  it('in a step that ignores its signal: unconfirmed, and what it returns later is not recorded', async () => {
    const handle = await submit('holds', { input: 'ignore' })
    await gates.at('ignore').reached
    await stop(handle)
    const ended = await runtime.ended(handle)
    expect(endingOf(ended)).toMatchObject(cancelled)
    expect(ended.stop).toMatchObject({ confirmedAt: null })
    gates.at('ignore').open()
    await run('works')
    expect((await runtime.runs.get('default', handle.runId)).steps).toEqual(ended.steps)
  })

  it('too late: refused with the final state', async () => {
    const ended = await run('works')
    await expect(stop(ended)).rejects.toMatchObject({
      code: 'RUN_ENDED',
      details: { status: 'succeeded', phase: 'COMPLETED' },
    })
  })
})
