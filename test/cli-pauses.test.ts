import { userInfo } from 'node:os'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defineAgent } from '../src/index.ts'
import { createTestRuntime, type TestRuntime } from '../src/testing/testing.ts'
import { until } from './flow/support/until.ts'
import { cliOn } from './support/cli-in-process.ts'
import { sharedSnapshot } from './support/embedded.ts'
import type { CliResult } from './support/run-cli.ts'

const sleeps = defineAgent({ name: 'sleeps', version: '1', run: ({ step }) => step.sleep('long', 3_600_000) })

const json = ({ out }: CliResult) => JSON.parse(out)
const error = ({ err }: CliResult) => JSON.parse(err).error

describe('the commands `runs pause` and `runs resume`', () => {
  let runtime: TestRuntime
  let cli: ReturnType<typeof cliOn>
  beforeAll(async () => {
    runtime = await createTestRuntime({ agents: [sleeps], snapshot: await sharedSnapshot() })
    const inProcess = cliOn(runtime.concordat)
    cli = async (...args) => inProcess(...args).finally(() => runtime.start())
  })
  afterAll(() => runtime.close())

  const sleeping = async () => {
    const handle = await runtime.runs.submit({ tenant: 'default', agent: 'sleeps' })
    await until(
      () => runtime.runs.get('default', handle.runId),
      ({ waiting }) => waiting === 'TIMER',
    )
    return handle.runId
  }

  test('act as OPERATOR under the login, unless they are told otherwise; who came second is told by code', async () => {
    const runId = await sleeping()
    expect(await cli('runs', 'pause', runId, '--why', 'lunch')).toMatchObject({
      code: 0,
      out: `Run ${runId} is paused.\n  resume it: concordat runs resume ${runId}\n`,
    })
    expect(error(await cli('runs', 'pause', runId, '--json'))).toMatchObject({ code: 'RUN_PAUSED' })
    const login = { by: userInfo().username, as: 'OPERATOR' }
    const { pauses } = await runtime.runs.get('default', runId)
    expect(pauses).toMatchObject([{ message: 'lunch', pausedBy: login.by, pausedAs: login.as }])
    const resumed = ['runs', 'resume', runId, '--as', 'TENANT_USER', '--by', 'Eve', '--note', 'back', '--json']
    expect(json(await cli(...resumed))).toEqual({ runId, tenantId: 'default', result: 'resumed' })
    const second = await cli('runs', 'resume', runId, '--json')
    expect(second.code).toBe(1)
    expect(error(second)).toMatchObject({ code: 'RUN_NOT_PAUSED', next: `concordat runs get ${runId}` })
    const shown = await cli('runs', 'get', runId)
    expect(shown.out).toMatch(/was paused +MANUAL_PAUSE .* UTC for .*, resumed by Eve as TENANT_USER: back\n/)
  })

  test('`runs get` says why a run is paused, who may resume it and what happens when; `runs list` the same in short', async () => {
    const runId = await sleeping()
    await cli('runs', 'pause', runId, '--why', 'the ticket changed', '--by', 'Eve')
    await runtime.database.query(`update concordat.pauses set reason = 'POLICY_CHANGE' where run_id = $1`, [runId])
    const refused = await cli('runs', 'resume', runId, '--as', 'TENANT_USER', '--by', 'Mallory')
    expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('only TENANT_ADMIN, OPERATOR may') })
    const { out } = await cli('runs', 'get', runId)
    expect(out).toContain(`run ${runId}  paused  EXECUTING`)
    expect(out).toMatch(/paused +POLICY_CHANGE since .* UTC, \d+ s ago, by Eve as OPERATOR\n/)
    expect(out).toMatch(/why +the ticket changed\n/)
    expect(out).toMatch(new RegExp(`resume +concordat runs resume ${runId} {2}\\(TENANT_ADMIN, OPERATOR\\)\n`))
    expect(out).toMatch(/then +.* UTC, in 59 m \d\d s: it ends as failed_policy \(PAUSE_TIMEOUT\)\n/)
    expect(out).toMatch(/refused +1 attempt to resume it, the last by Mallory as TENANT_USER /)
    expect((await cli('runs', 'list', '--status', 'paused')).out).toMatch(
      /paused POLICY_CHANGE .* TERMINATE in 59 m: the ticket/,
    )
    const { runs } = json(await cli('runs', 'list', '--status', 'paused', '--json'))
    expect(runs).toMatchObject([
      { runId, pause: { reason: 'POLICY_CHANGE', onTimeout: 'TERMINATE', escalated: false } },
    ])
    expect(json(await cli('runs', 'get', runId, '--json'))).toMatchObject({
      status: 'paused',
      pauses: [{ reason: 'POLICY_CHANGE', resumableBy: ['TENANT_ADMIN', 'OPERATOR'], refusals: [{ by: 'Mallory' }] }],
    })
  })

  test('a queued run is asked to pause, and that can be taken back', async () => {
    const { runId } = await runtime.runs.submit({
      tenant: 'default',
      agent: 'sleeps',
      runAt: new Date(Date.now() + 3_600_000),
    })
    expect((await cli('runs', 'pause', runId)).out).toContain('pauses when a worker claims it, before its first step.')
    expect((await cli('runs', 'get', runId)).out).toMatch(/pause +asked for by .*; it begins before the next step\n/)
    expect((await cli('runs', 'resume', runId)).out).toBe(
      `Run ${runId} does not pause: that had only been asked for.\n`,
    )
  })

  test('many are resumed at once, those of an agent or a reason, as far as the authority may', async () => {
    await cli('runs', 'resume', '--all')
    const [first, second, third] = [await sleeping(), await sleeping(), await sleeping()]
    for (const runId of [first, second, third]) await cli('runs', 'pause', runId)
    await runtime.database.query(`update concordat.pauses set reason = 'BUDGET_WARNING' where run_id = $1`, [third])
    expect(await cli('runs', 'resume')).toMatchObject({ code: 2, err: expect.stringContaining('--all') })
    expect(await cli('runs', 'resume', first, '--all')).toMatchObject({ code: 2 })
    const none = { agent: 'other', reason: null, resumed: 0, forbidden: 0, undecided: 0 }
    expect(json(await cli('runs', 'resume', '--agent', 'other', '--json'))).toEqual({ tenant: 'default', ...none })
    const eve = ['--as', 'TENANT_USER', '--by', 'Eve']
    expect(await cli('runs', 'resume', '--all', ...eve)).toMatchObject({
      code: 1,
      out: '2 runs resumed.\n1 run not resumed: TENANT_USER may not, and each attempt is kept.\n',
    })
    const { pauses } = await runtime.runs.get('default', third)
    expect(pauses).toMatchObject([{ endedAt: null, refusals: [{ by: 'Eve', as: 'TENANT_USER' }] }])
    expect(await cli('runs', 'resume', '--reason', 'BUDGET_WARNING')).toMatchObject({
      code: 0,
      out: '1 run resumed.\n',
    })
    expect(await cli('runs', 'resume', '--all', '--tenant', 'nobody')).toMatchObject({ code: 2 })
  })

  test('a wrong role, an unknown run and an ended one are refused by code', async () => {
    const runId = await sleeping()
    expect(await cli('runs', 'resume', runId, '--as', 'ROOT')).toMatchObject({ code: 2 })
    expect(error(await cli('runs', 'pause', crypto.randomUUID(), '--json'))).toMatchObject({ code: 'RUN_NOT_FOUND' })
    await runtime.runs.stop('default', runId)
    expect(error(await cli('runs', 'pause', runId, '--json'))).toMatchObject({ code: 'RUN_ENDED' })
    expect(error(await cli('runs', 'resume', runId, '--json'))).toMatchObject({ code: 'RUN_NOT_PAUSED' })
  })
})
