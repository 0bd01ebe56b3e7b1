import { beforeAll, expect, it } from 'vitest'
import { AppError } from '../../src/foundation/app-error.ts'
import { type AgentContext, defineAgent } from '../../src/index.ts'
import type { StatementCall, TestRuntime } from '../../src/testing/testing.ts'
import { DISAGREEMENTS } from '../torture/agreement.ts'
import { describeOnDatabases } from './support/databases.ts'
import {
  endingOf,
  eventCounts,
  eventsOfEnded,
  FIVE_ACKS,
  successAcks,
  WALK_TO_COMPLETED,
  walked,
} from './support/footprint.ts'

let worked = 0
const twoSteps = {
  version: '1',
  async run({ step }: AgentContext) {
    await step.do('first', () => 1)
    await step.do('second', () => ++worked)
  },
}
const works = defineAgent({ name: 'works', ...twoSteps })
// What has a limit is never started with its submission.
const queues = defineAgent({ name: 'queues', maxRunning: 10, ...twoSteps })

// Claimed twice, so that its worker does not know all of it and reads it before it ends.
const naps = defineAgent({
  name: 'naps',
  version: '1',
  async run({ step }) {
    await step.do('first', () => 1)
    await step.sleep('nap', 1)
    await step.do('second', () => ++worked)
  },
})

/** What can happen at a statement. */
const FAULTS = {
  'is refused': () => {
    throw new AppError('DATABASE_ERROR', 'refused by the test')
  },
  'finds its connection cut': async ({ tx }: StatementCall) => {
    await tx.query('select pg_terminate_backend(pg_backend_pid())').catch(() => undefined)
    // The embedded database has no connection to cut: its statement fails as if it had.
    throw Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' })
  },
}
/** How often a statement that a submission makes only while its worker knows the queue to be empty is waited for. */
const RUNS_PER_STATEMENT = 5
type Fault = (call: StatementCall) => void | Promise<void>

describeOnDatabases('a run whose database fails', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    runtime = await open({ agents: [works, queues, naps] })
  })

  const submit = (agent = 'works') => runtime.runs.submit({ tenant: 'default', agent })

  /** Does something to the first statement that it is about. Tells whether there was one. */
  function once(isIt: (call: StatementCall) => boolean, fault: Fault) {
    let met = false
    const remove = runtime.database.intercept((call) => {
      if (met || !isIt(call)) return
      met = true
      return fault(call)
    })
    return { remove, wasMet: () => met }
  }

  async function endWhole(handle: Awaited<ReturnType<typeof submit>>) {
    const run = await runtime.ended(handle)
    expect(await runtime.database.query(DISAGREEMENTS, ['1 minute'])).toEqual([])
    expect(endingOf(run)).toMatchObject({
      status: 'succeeded',
      incident: 'SUCCESS',
      trace: 'COMPLETE',
      event: 'run.completed',
    })
    expect(successAcks(run)).toEqual(FIVE_ACKS)
    expect(eventCounts(run)).toEqual(eventsOfEnded('run.completed'))
    expect(walked(run)).toEqual(WALK_TO_COMPLETED)
    const worked = run.steps.filter(({ kind }) => kind === 'do')
    expect(worked.map(({ key, status }) => [key, status])).toEqual([
      ['first#1', 'succeeded'],
      ['second#1', 'succeeded'],
    ])
    return run
  }

  /** Lets a run come to its end once for each statement of such a transaction, with a fault at that statement. */
  async function atEachStatement(
    first: string,
    isStatement: (statement: string) => boolean,
    fault: Fault,
    agent = 'works',
  ): Promise<number> {
    for (let n = 1; ; n++) {
      const isNth = ({ statement, before }: StatementCall) => {
        return isStatement(statement) && (before[0] ?? statement) === first && before.length === n - 1
      }
      const { remove, wasMet } = once(isNth, fault)
      // More than one, because which path a submission takes depends on what its worker has just done.
      for (let run = 0; run < RUNS_PER_STATEMENT && !wasMet(); run++) {
        const before = worked
        await endWhole(await submit(agent))
        expect(worked).toBe(before + 1)
      }
      remove()
      if (!wasMet()) return n - 1
    }
  }

  // Each is named by its first statement.
  it.each([
    ['submission', 'runs_insert', 3, 'queues'],
    ['submission and start', 'starts_enter', 3, 'works'],
    ['claim', 'claims_begin', 3, 'queues'],
    ['completion', 'incidents_insert', 7, 'works'],
    ['completion after a nap', 'runs_hold', 9, 'naps'],
  ])(
    'at any one statement of its %s, the commit’s reply included, ends whole, and is never seen in part',
    async (_which, first, statementsMin, agent) => {
      const faced = await atEachStatement(first, () => true, FAULTS['finds its connection cut'], agent)
      expect(faced).toBeGreaterThanOrEqual(statementsMin)
    },
  )

  it.each([
    ['submission and start', 'starts_enter', 2, 'works'],
    ['completion', 'incidents_insert', 6, 'works'],
    ['completion after a nap', 'runs_hold', 8, 'naps'],
  ])(
    'by refusing any one statement of its %s ends whole, and is never seen in part',
    async (_which, first, statementsMin, agent) => {
      const isRefusable = (statement: string) => statement !== 'committed'
      expect(await atEachStatement(first, isRefusable, FAULTS['is refused'], agent)).toBeGreaterThanOrEqual(
        statementsMin,
      )
    },
  )

  it.each([['steps_insert'], ['steps_upsert']])('at %s goes on as if nothing had happened', async (name) => {
    const { remove, wasMet } = once(({ statement }) => statement.startsWith(name), FAULTS['finds its connection cut'])
    await endWhole(await submit())
    remove()
    expect(wasMet()).toBe(true)
  })
})
