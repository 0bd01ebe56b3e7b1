import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defineAgent } from '../src/index.ts'
import { createTestRuntime, type TestRuntime } from '../src/testing/testing.ts'
import { sharedSnapshot } from './flow/support/databases.ts'
import { until } from './flow/support/until.ts'
import { cliOn } from './support/cli-in-process.ts'
import type { CliResult } from './support/run-cli.ts'

const asks = defineAgent({
  name: 'asks',
  version: '1',
  run: ({ step }) => step.waitFor<number>('how many?', { schema: { type: 'number' }, timeout: 3_600_000 }),
})

const json = ({ out }: CliResult) => JSON.parse(out)
const error = ({ err }: CliResult) => JSON.parse(err).error

describe('the command `runs signal`', () => {
  let runtime: TestRuntime
  let cli: ReturnType<typeof cliOn>
  beforeAll(async () => {
    runtime = await createTestRuntime({ agents: [asks], snapshot: await sharedSnapshot() })
    const inProcess = cliOn(runtime.concordat)
    cli = async (...args) => inProcess(...args).finally(() => runtime.start())
  })
  afterAll(() => runtime.close())

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
    expect(error(await send(runId, 'x', '--tenant', 'other')).code).toBe('RUN_NOT_FOUND')
    await runtime.runs.stop('default', runId)
    expect(error(await send(runId, 'x'))).toMatchObject({
      code: 'RUN_ENDED',
      hint: expect.stringContaining('runs get'),
    })
  })
})
