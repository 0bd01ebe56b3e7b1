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

  it.each(Object.entries(FAULTS))(
    'when any one statement of its completion %s ends whole, and is never seen in part',
    async (_what, fault) => {
      let statements = 0
      for (let n = 1; ; n++) {
        const isNth = ({ statement, before }: StatementCall) => {
          return statement !== 'committed' && (before[0] ?? statement) === 'runs_hold' && before.length === n - 1
        }
        const wasMet = once(isNth, async (call) => {
          await fault(call)
        })
        const before = worked
        const handle = await submit()
        await endWhole(handle)
        expect(worked).toBe(before + 1)
        if (!wasMet()) break
        statements = n
      }
      expect(statements).toBeGreaterThan(8) // reading, each domain's write, status, acks, events, and the commit
    },
  )

  it('when the reply to the commit of its completion is lost is ended once', async () => {
    const isIt = ({ statement, before }: StatementCall) => statement === 'committed' && before[0] === 'runs_hold'
    const wasMet = once(isIt, FAULTS['finds its connection cut'])
    const run = await endWhole(await submit())
    expect(wasMet()).toBe(true)
    expect(run.acks).toHaveLength(5)
  })

  it.each([
    ['tenants_for_admission', 'runs_insert'],
    ['runs_insert', 'runs_insert'],
    ['outbox_append', 'runs_insert'],
    ['commit', 'runs_insert'],
    ['committed', 'runs_insert'],
    ['runs_claim', 'runs_claim'],
    ['outbox_append', 'runs_claim'],
    ['traces_start', 'runs_claim'],
    ['audit_acks_insert', 'runs_claim'],
    ['commit', 'runs_claim'],
    ['committed', 'outbox_append after runs_claim'],
    ['steps_insert', ''],
    ['steps_upsert', ''],
  ])('at %s (%s) goes on as if nothing had happened', async (statement, within) => {
    const inside = within.split(' after ')
    const isIt = (call: StatementCall) => {
      if (call.statement !== statement) return false
      return (
        call.statement === within ||
        within === '' ||
        inside.every((name) => [...call.before, ...after(name, call)].includes(name))
      )
    }
    const wasMet = once(isIt, FAULTS['finds its connection cut'])
    await endWhole(await submit())
    expect(wasMet()).toBe(true)
  })
})

/** The tenants are asked before the runs are inserted: that statement alone says what it is part of. */
function after(name: string, { statement }: StatementCall): string[] {
  return statement === 'tenants_for_admission' ? [name] : []
}
