import { defineAgent, type RunReport } from '../../../src/index.ts'
import type { TestRuntime } from '../../../src/testing/testing.ts'
import { Gates } from './gate.ts'
import { type RefusingTable, refuse, refuseNoMore } from './refusals.ts'
import { until } from './until.ts'

export const gates = new Gates()

/** Ends together with all others that wait at the same gate, so that they share a batch. */
export const together = defineAgent<string>({
  name: 'together',
  version: '1',
  async run({ input, step, run }) {
    await step.do('work', () => 'done', { sideEffects: false })
    gates.at(run.runId).pass()
    await gates.at(input).pass()
  },
})

const BATCH = 8

/** Brings a batch of runs to its end; the second and the sixth meet a table that refuses them. */
export async function endTogether(runtime: TestRuntime, table: RefusingTable) {
  const gate = `${table} ${crypto.randomUUID()}`
  const submit = () => runtime.runs.submit({ tenant: 'default', agent: 'together', input: gate })
  const handles = await Promise.all(Array.from({ length: BATCH }, submit))
  await Promise.all(handles.map(({ runId }) => gates.at(runId).reached))
  const refused = handles.filter((_, i) => i === 1 || i === 5)
  const accepted = handles.filter((handle) => !refused.includes(handle))
  const refusedIds = refused.map(({ runId }) => runId)
  await refuse(runtime.database, table, refusedIds)
  gates.at(gate).open()
  return { refused, accepted, heal: () => refuseNoMore(runtime.database, refusedIds) }
}

/** Waits until the run is parked, and the alert of it is raised. */
export async function blocked(runtime: TestRuntime, { runId }: { runId: string }): Promise<RunReport> {
  return until(
    () => runtime.runs.get('default', runId),
    (run) => run.alerts.length > 0 && run.pending !== null, // a report is read table by table
  )
}
