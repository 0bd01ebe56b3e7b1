import type pg from 'pg'
import { type Agent, defineAgent } from '../../src/index.ts'

/** A table outside of the product, written on a connection of its own: what really ran, whatever the product recorded. */
export const CREATE_WITNESS = `
  create table witness (
    run_id uuid not null, step_key text not null, side_effects boolean not null, recorded boolean not null,
    seen_at timestamptz not null default clock_timestamp()
  )`

const WITNESS = `
  insert into witness (run_id, step_key, side_effects, recorded)
  values ($1, $2, $3, exists (select from concordat.steps
    where tenant_id = 'default' and run_id = $1 and step_key = $2 and status in ('succeeded', 'failed')))`

export function crashAgents(witness: pg.Pool): Agent[] {
  return [
    /** Each step leaves a witness of having run, then works on for a moment. `input`: how many steps. */
    defineAgent<number>({
      name: 'witnessed',
      version: '1',
      async run({ input, step, run }) {
        for (let i = 0; i < input; i++) {
          const sideEffects = i % 4 === 3
          const work = async () => {
            await witness.query(WITNESS, [run.runId, `work#${i + 1}`, sideEffects])
            return { i }
          }
          await step.do('work', work, { sideEffects })
          if (i === 1) await step.sleep('nap', 20)
        }
        return input
      },
    }),
    /** Holds the event loop for so many ms: no timer, no reply, no heartbeat of this thread. */
    defineAgent<number>({
      name: 'blocks',
      version: '1',
      run: ({ input, step }) =>
        step.do('block', () => {
          const until = performance.now() + input
          while (performance.now() < until);
          return 'done'
        }),
    }),
    /** Waits for so many signals `go`, one after the other, and returns what came. */
    defineAgent<number>({
      name: 'signalled',
      version: '1',
      async run({ input, step }) {
        const got: unknown[] = []
        while (got.length < input) got.push(await step.waitFor('go', { timeout: 120_000 }))
        return got
      },
    }),
    /** Starts so many runs of `witnessed` at once, and then one of each after the other. */
    defineAgent<number>({
      name: 'family',
      version: '1',
      async run({ input, step }) {
        const children = Array.from({ length: input }, (_, i) => step.run<number>('witnessed', i + 1))
        const together = await Promise.all(children)
        const last = await step.run<number>('witnessed', 2, { name: 'last' })
        return [...together, last]
      },
    }),
    /** Leaves a witness of having acted, once somebody approved that. */
    defineAgent({
      name: 'approved',
      version: '1',
      run: ({ step, run }) =>
        step.do('act', async () => void (await witness.query(WITNESS, [run.runId, 'act#1', true])), {
          approval: { timeout: 120_000 },
        }),
    }),
    /** Waits until the witness table has a row that says `go on`, then writes another step. */
    defineAgent({
      name: 'waits for a word',
      version: '1',
      async run({ step, run }) {
        const say = (word: string) =>
          witness.query(`insert into witness values ($1, $2, false, false)`, [run.runId, word])
        const first = async () => {
          await say('here')
          for (;;) {
            const { rowCount } = await witness.query(`select from witness where run_id = $1 and step_key = 'go on'`, [
              run.runId,
            ])
            if (rowCount) break
            await new Promise((resolve) => setTimeout(resolve, 20))
          }
          return process.pid
        }
        await step.do('first', first, { sideEffects: false })
        await step.do('second', () => process.pid)
        return process.pid
      },
    }),
  ]
}
