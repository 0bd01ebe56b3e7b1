import { beforeAll, expect, it } from 'vitest'
import { AppError } from '../../src/foundation/app-error.ts'
import { defineAgent } from '../../src/index.ts'
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
const works = defineAgent({
  name: 'works',
  version: '1',
  async run({ step }) {
    await step.do('first', () => 1)
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
type Fault = (call: StatementCall) => void | Promise<void>

describeOnDatabases('a run whose database fails', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    runtime = await open({ agents: [works] })
  })

  const submit = () => runtime.runs.submit({ tenant: 'default', agent: 'works' })

  /** Does something to the first statement that it is about. Tells whether there was one. */
  function once(isIt: (call: StatementCall) => boolean, fault: Fault) {
    let met = false
    const remove = runtime.database.intercept((call) => {
      if (met || !isIt(call)) return
      met = true
      return fault(call)
    })
    return () => {
      remove()
      return met
    }
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
    expect(run.steps.map(({ key, status }) => [key, status])).toEqual([
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
  ): Promise<number> {
    for (let n = 1; ; n++) {
      const isNth = ({ statement, before }: StatementCall) => {
        return isStatement(statement) && (before[0] ?? statement) === first && before.length === n - 1
      }
      const wasMet = once(isNth, fault)
      const before = worked
      await endWhole(await submit())
      expect(worked).toBe(before + 1)
      if (!wasMet()) return n - 1
    }
  }

  // Each is named by its first statement.
  it.each([
    ['submission', 'tenants_for_admission', 4],
    ['claim', 'claims_lock_limited', 5],
    ['completion', 'runs_hold', 9],
  ])(
    'at any one statement of its %s, the commit’s reply included, ends whole, and is never seen in part',
    async (_which, first, statementsMin) => {
      expect(await atEachStatement(first, () => true, FAULTS['finds its connection cut'])).toBeGreaterThanOrEqual(
        statementsMin,
      )
    },
  )

  it('by refusing any one statement of its completion ends whole, and is never seen in part', async () => {
    const isRefusable = (statement: string) => statement !== 'committed'
    expect(await atEachStatement('runs_hold', isRefusable, FAULTS['is refused'])).toBeGreaterThanOrEqual(8)
  })

  it.each([['steps_insert'], ['steps_upsert']])('at %s goes on as if nothing had happened', async (name) => {
    const wasMet = once(({ statement }) => statement.startsWith(name), FAULTS['finds its connection cut'])
    await endWhole(await submit())
    expect(wasMet()).toBe(true)
  })
})
