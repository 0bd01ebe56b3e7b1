import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defineAgent } from '../src/index.ts'
import { createTestRuntime, type TestRuntime } from '../src/testing/testing.ts'
import { until } from './flow/support/until.ts'
import { cliOn } from './support/cli-in-process.ts'
import { sharedSnapshot } from './support/embedded.ts'
import type { CliResult } from './support/run-cli.ts'

const asks = defineAgent({
  name: 'asks',
  version: '1',
  run: ({ step }) => step.waitFor<number>('how many?', { schema: { type: 'number' }, timeout: 3_600_000 }),
})

const pays = defineAgent({
  name: 'pays',
  version: '1',
  tools: { pay: () => 'paid' },
  run: ({ step }) => step.tool('pay', { amount: 100 }, { approval: { message: 'Pay 100?', timeout: 3_600_000 } }),
})

const json = ({ out }: CliResult) => JSON.parse(out)
const error = ({ err }: CliResult) => JSON.parse(err).error

describe('the commands that let a run go on', () => {
  let runtime: TestRuntime
  let cli: ReturnType<typeof cliOn>
  beforeAll(async () => {
    runtime = await createTestRuntime({ agents: [asks, pays], snapshot: await sharedSnapshot() })
    const inProcess = cliOn(runtime.concordat)
    cli = async (...args) => inProcess(...args).finally(() => runtime.start())
  })
  afterAll(() => runtime.close())

  // The first one: a command stops the runtime when it is done, and what a test hears with it.
  test('`runs submit --wait` says that its run is paused, and the next command', async () => {
    const waiting = cli('runs', 'submit', '--agent', 'pays', '--wait')
    const [asked] = await until(
      () => runtime.concordat.approvals.list({ state: 'pending' }),
      (approvals) => approvals.length > 0,
    )
    await runtime.heard('run.paused', { runId: asked!.runId })
    const decision = { decision: 'approved', by: 'Eve', as: 'TENANT_ADMIN' } as const
    await runtime.concordat.approvals.decide('default', asked!.approvalId, decision)
    const { code, err } = await waiting
    expect(code).toBe(0)
    expect(err).toContain(
      `Run ${asked!.runId} is paused: APPROVAL_REQUIRED, Pay 100?\n  next  concordat approvals list\n`,
    )
  })

  const waitingRun = async () => {
    const handle = await runtime.runs.submit({ tenant: 'default', agent: 'asks' })
    await until(
      () => runtime.runs.get('default', handle.runId),
      ({ waiting }) => waiting === 'SIGNAL',
    )
    return handle
  }

  test('`runs get` says what a run waits for, and the command that lets it go on', async () => {
    const { runId } = await waitingRun()
    const shown = await cli('runs', 'get', runId)
    expect(shown.out).toMatch(/waits for +signal "how many\?" until .* UTC, in \d+ m/)
    expect(shown.out).toContain(`goes on by  concordat runs signal ${runId} 'how many?' --data JSON\n`)
    expect(json(await cli('runs', 'get', runId, '--json'))).toMatchObject({
      waiting: 'SIGNAL',
      waits: [{ stepKey: 'how many?#1', name: 'how many?', schema: { type: 'number' } }],
      signals: [],
    })
    await runtime.runs.stop('default', runId)
  })

  test('lets it go on, or keeps what it does not wait for yet', async () => {
    const handle = await waitingRun()
    const { runId } = handle
    expect(await cli('runs', 'signal', runId, 'later', '--by', 'Eve')).toMatchObject({
      code: 0,
      out: `No step of run ${runId} waits for signal "later" yet: it is kept.\n`,
    })
    const args = ['runs', 'signal', runId, 'how many?', '--data', '7', '--by', 'Eve', '--id', 'mail-1', '--json']
    expect(json(await cli(...args))).toMatchObject({
      runId,
      signalId: 'mail-1',
      state: 'delivered',
      deduplicated: false,
    })
    const ended = await runtime.ended(handle)
    expect(ended).toMatchObject({ output: 7, steps: [{ attributes: { by: 'Eve', signalId: 'mail-1' } }] })
    expect(await cli(...args.slice(0, -1))).toMatchObject({
      code: 0,
      out: `Run ${runId} has signal "how many?" and goes on. It had been sent before.\n`,
    })
    expect(await cli('runs', 'signal', runId, 'more', '--json')).toMatchObject({ code: 1 })
  })

  test('tells what is wrong with a signal, and what to do', async () => {
    const { runId } = await waitingRun()
    const send = async (...args: string[]) => cli('runs', 'signal', ...args, '--json')
    const misfit = await send(runId, 'how many?', '--data', '"many"')
    expect([misfit.code, error(misfit).code, error(misfit).message]).toEqual([
      2,
      'INVALID_INPUT',
      'The payload of signal "how many?" does not fit: must be number',
    ])
    expect(error(await send(runId, 'how many?', '--data', '{')).code).toBe('INVALID_REQUEST')
    expect(error(await send(runId, '')).code).toBe('INVALID_REQUEST')
    expect(error(await send('no-run', 'x')).code).toBe('RUN_NOT_FOUND')
    expect(error(await send(runId, 'x', '--tenant', 'other')).code).toBe('UNKNOWN_TENANT')
    await runtime.runs.stop('default', runId)
    expect((await runtime.runs.get('default', runId)).stop).toMatchObject({ state: 'confirmed' }) // nobody executed it
    expect(error(await send(runId, 'x'))).toMatchObject({
      code: 'RUN_ENDED',
      hint: expect.stringContaining('runs get'),
    })
  })

  const askingRun = async () => {
    const handle = await runtime.runs.submit({ tenant: 'default', agent: 'pays' })
    const { approvals } = await until(
      () => runtime.runs.get('default', handle.runId),
      ({ status }) => status === 'paused',
    )
    return { handle, runId: handle.runId, approvalId: approvals[0]?.approvalId ?? '' }
  }

  test('`approvals list` and `get` show what is asked, `decide` answers once', async () => {
    const { handle, runId, approvalId } = await askingRun()
    expect((await cli('approvals', 'list')).out).toMatch(
      new RegExp(`APPROVAL +STATE +AGENT +STEP +MESSAGE.*\\n +${approvalId} +pending +pays +pay#1 +Pay 100\\?`),
    )
    expect(json(await cli('approvals', 'list', '--state', 'pending', '--json')).approvals).toMatchObject([
      { approvalId, runId, state: 'pending', approvers: ['TENANT_ADMIN'], stepKey: 'pay#1' },
    ])
    expect((await cli('runs', 'get', runId)).out).toContain(`concordat approvals decide ${approvalId} approve|reject`)
    expect((await cli('approvals', 'get', approvalId)).out).toContain('"input":{"amount":100}')
    expect(json(await cli('approvals', 'get', approvalId, '--json'))).toMatchObject({
      approvalId,
      action: { agent: 'pays', version: '1', kind: 'tool', name: 'pay', input: { amount: 100 } },
    })
    const resumed = await cli('runs', 'resume', runId, '--json')
    expect(error(resumed)).toMatchObject({ code: 'APPROVAL_PENDING', hint: expect.stringContaining(approvalId) })
    const refused = await cli('approvals', 'decide', approvalId, 'approve', '--as', 'TENANT_USER', '--json')
    expect([refused.code, error(refused).code]).toEqual([1, 'APPROVAL_FORBIDDEN'])
    const decided = await cli('approvals', 'decide', approvalId, 'approve', '--by', 'Eve', '--note', 'is due')
    expect(decided).toMatchObject({ code: 0, out: `Step pay#1 of run ${runId} is approved; the run goes on.\n` })
    expect(await runtime.ended(handle)).toMatchObject({
      output: 'paid',
      approvals: [{ state: 'consumed', decidedBy: 'Eve', decidedAs: 'OPERATOR', note: 'is due' }],
    })
    const second = await cli('approvals', 'decide', approvalId, 'reject', '--json')
    expect([second.code, error(second)]).toMatchObject([1, { code: 'APPROVAL_CLOSED', details: { state: 'consumed' } }])
    expect((await cli('approvals', 'list')).out).toBe('Nobody is asked to approve anything.\n')
    expect((await cli('approvals', 'list', '--state', 'all')).out).toContain('consumed')
    expect(error(await cli('approvals', 'list', '--tenant', 'nobody', '--json')).code).toBe('UNKNOWN_TENANT')
  })

  test('what is no approval, or another tenant’s, is not found; what is no decision is told', async () => {
    const { runId, approvalId } = await askingRun()
    const decide = async (...args: string[]) => error(await cli('approvals', 'decide', ...args, '--json')).code
    expect(await decide('no-id', 'approve')).toBe('APPROVAL_NOT_FOUND')
    expect(await decide(runId, 'approve')).toBe('APPROVAL_NOT_FOUND')
    expect(await decide(approvalId, 'approve', '--tenant', 'other')).toBe('APPROVAL_NOT_FOUND')
    expect(await decide(approvalId, 'maybe')).toBe('INVALID_REQUEST')
    await runtime.runs.stop('default', runId)
    expect(await decide(approvalId, 'approve')).toBe('APPROVAL_CLOSED')
  })
})
