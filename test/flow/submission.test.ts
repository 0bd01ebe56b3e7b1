import { beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { defineAgent } from '../../src/index.ts'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'

const greets = defineAgent({
  name: 'greets',
  version: '1',
  input: z.object({ name: z.string() }),
  run: ({ input }) => `Hello, ${input.name}!`,
})
const input = { name: 'Ada' }

describeOnDatabases('a submission', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    runtime = await open({ agents: [greets], started: false })
  })

  const submit = (request: object = {}) =>
    runtime.runs.submit({ tenant: 'default', agent: 'greets', input, ...request })
  const count = async (table: string, where = 'true') => {
    const [row] = await runtime.database.query<{ rows: number }>(
      `select count(*)::int as rows from concordat.${table} where ${where}`,
    )
    return row?.rows
  }

  it('is a row with its contract, its first transitions and run.created, in one commit', async () => {
    const { runId } = await submit()
    const run = await runtime.runs.get('default', runId)
    expect(run).toMatchObject({ status: 'queued', phase: 'AUTHORIZED', input, acks: [], trace: null })
    expect(run.transitions.map(({ to }) => to)).toEqual(['CREATED', 'AUTHORIZED'])
    expect(run.events.map(({ type }) => type)).toEqual(['run.created'])
    expect(
      run.expectations.map(({ domain, action, deadlineMs, dueAt, status }) => [
        `${domain}/${action}`,
        deadlineMs,
        dueAt,
        status,
      ]),
    ).toEqual([
      ['logs/start_trace', 5_000, null, 'PENDING'],
      ['incidents/create_incident', 5_000, null, 'PENDING'],
      ['policies/evaluate_policy', 5_000, null, 'PENDING'],
      ['logs/complete_trace', 5_000, null, 'PENDING'],
      ['orchestrator/finalize_run', 3_605_000, null, 'PENDING'],
    ])
  })

  it('that the database leaves out without a reason fails, and is not tried for ever', async () => {
    const { database } = runtime
    await database.query(`create function swallow() returns trigger language plpgsql as $$ begin return null; end $$`)
    await database.query(
      `create trigger swallow before insert on concordat.runs for each row when (new.priority = 13) execute function swallow()`,
    )
    await expect(submit({ priority: 13 })).rejects.toMatchObject({
      code: 'DATABASE_ERROR',
      message: expect.stringContaining('nothing stands against it'),
    })
    await database.query('drop trigger swallow on concordat.runs')
    await database.query('drop function swallow()')
  })

  describe('that is malformed leaves no row', () => {
    const cyclic: Record<string, unknown> = {}
    cyclic.self = cyclic
    it.each([
      ['UNKNOWN_AGENT', { agent: 'greeter' }],
      ['UNKNOWN_AGENT', { version: '2' }],
      ['UNKNOWN_TENANT', { tenant: 'nobody' }],
      ['INVALID_INPUT', { input: { name: 7 } }],
      ['INVALID_INPUT', { input: undefined }],
      ['NOT_SERIALIZABLE', { input: { name: 'x', more: cyclic } }],
      ['INPUT_TOO_LARGE', { input: { name: 'x'.repeat(8_388_608) } }],
      ['INPUT_TOO_LARGE', { metadata: 'x'.repeat(65_536) }],
      ['INVALID_REQUEST', { tenant: 'a\0b' }],
      ['INVALID_REQUEST', { tenant: '' }],
      ['INVALID_REQUEST', { agent: 'x'.repeat(201) }],
      ['INVALID_REQUEST', { priority: 101 }],
      ['INVALID_REQUEST', { priority: 0.5 }],
      ['INVALID_REQUEST', { idempotencyKey: '' }],
      ['INVALID_REQUEST', { idempotencyKey: 'a\0' }],
      ['INVALID_REQUEST', { runAt: new Date(Number.NaN) }],
    ])('%s', async (code, request) => {
      const before = await count('runs')
      await expect(submit(request)).rejects.toMatchObject({ name: 'AppError', code, hint: expect.stringMatching(/\w/) })
      expect(await count('runs')).toBe(before)
    })

    it('and spoils nothing for those that are submitted with it', async () => {
      const settled = await Promise.allSettled([
        submit(),
        submit({ tenant: 'nobody' }),
        submit({ tenant: 'nobody' }),
        submit(),
      ])
      expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled'])
    })
  })

  describe('under an idempotency key', () => {
    it('is the same run again', async () => {
      const first = await submit({ idempotencyKey: 'once' })
      const second = await submit({ idempotencyKey: 'once' })
      expect([first.deduplicated, second.deduplicated]).toEqual([false, true])
      expect(second.runId).toBe(first.runId)
      expect((await runtime.runs.get('default', first.runId)).events).toHaveLength(1)
    })

    it('is refused for another request, and names the run that has the key', async () => {
      const { runId } = await submit({ idempotencyKey: 'taken' })
      for (const other of [{ input: { name: 'Bob' } }, { priority: 1 }, { metadata: 'x' }, { runAt: new Date() }]) {
        const refused = submit({ idempotencyKey: 'taken', ...other })
        await expect(refused).rejects.toMatchObject({ code: 'IDEMPOTENCY_CONFLICT', details: { runId } })
      }
    })

    it('that was denied gives the same denial again', async () => {
      await runtime.concordat.tenants.put({ tenantId: 'strict', allowedAgents: [] })
      const [first, second] = [
        await submit({ idempotencyKey: 'denied', tenant: 'strict' }),
        await submit({ idempotencyKey: 'denied', tenant: 'strict' }),
      ]
      expect(first.denial?.code).toBe('AGENT_NOT_ALLOWED')
      expect(second).toMatchObject({ runId: first.runId, deduplicated: true, denial: first.denial })
      await expect(second.result()).rejects.toMatchObject({ code: 'AGENT_NOT_ALLOWED' })
    })

    it('is another tenant’s own run', async () => {
      await runtime.concordat.tenants.put({ tenantId: 'other' })
      const mine = await submit({ idempotencyKey: 'shared' })
      const theirs = await submit({ idempotencyKey: 'shared', tenant: 'other' })
      expect(theirs.runId).not.toBe(mine.runId)
    })

    it('is one run however many submit it at the same time, with one run.created', async () => {
      const handles = await Promise.all(Array.from({ length: 40 }, () => submit({ idempotencyKey: 'crowd' })))
      expect(new Set(handles.map(({ runId }) => runId)).size).toBe(1)
      expect(handles.filter(({ deduplicated }) => !deduplicated)).toHaveLength(1)
      expect(await count('outbox', `run_id = '${handles[0]?.runId}'`)).toBe(1)
    })
  })

  it.each([
    ['without keys', [{}, {}, {}]],
    ['with a key among them', [{}, { idempotencyKey: 'lost reply' }]],
  ])(
    'whose commit went through but whose reply was lost is one run with one run.created (%s)',
    async (_which, requests) => {
      let lost = 0
      const remove = runtime.database.intercept(({ statement, before }) => {
        if (statement !== 'committed' || !before.some((sent) => sent.startsWith('runs_insert')) || lost++ > 0) return
        throw Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' })
      })
      const handles = await Promise.all(requests.map(submit))
      remove()
      expect(lost).toBeGreaterThan(0)
      for (const { runId, deduplicated } of handles) {
        expect(deduplicated).toBe(false)
        expect(await count('outbox', `run_id = '${runId}'`)).toBe(1)
      }
    },
  )

  it('that the database refuses fails alone', async () => {
    await runtime.database.query(
      `create function refuse_bob() returns trigger language plpgsql as
         $$ begin if new.input->>'name' = 'Bob' then raise 'no Bob'; end if; return new; end $$`,
    )
    await runtime.database.query(
      'create trigger refuse before insert on concordat.runs for each row execute function refuse_bob()',
    )
    const names = ['Ada', 'Bob', 'Cleo', 'Bob', 'Dora']
    const settled = await Promise.allSettled(names.map((name) => submit({ input: { name } })))
    expect(settled.map(({ status }) => status === 'fulfilled')).toEqual(names.map((name) => name !== 'Bob'))
    await runtime.database.query('drop trigger refuse on concordat.runs')
  })
})
