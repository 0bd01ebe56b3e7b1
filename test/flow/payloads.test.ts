import { beforeAll, expect, it } from 'vitest'
import { AppError, defineAgent, type Json } from '../../src/index.ts'
import type { TestRuntime } from '../../src/testing/testing.ts'
import { describeOnDatabases } from './support/databases.ts'
import { endingOf, FIVE_ACKS, successAcks } from './support/footprint.ts'

const nested = (levels: number): Json => JSON.parse(`${'['.repeat(levels)}${']'.repeat(levels)}`)

const EXTREMES: [string, Json][] = [
  ['NUL', 'a\0b'],
  ['lone surrogates', ['\ud800', 'x\udfffy', { '\udc00': '\ud83d' }]],
  [
    'control characters',
    String.fromCharCode(...Array.from({ length: 32 }, (_, code) => code), 0x7f, 0x85, 0x2028, 0x2029),
  ],
  ['what looks like an escape', '\\u0000 \\ud800 \\" \\\\ \n'],
  ['PostgreSQL array syntax', ['{NULL,"a"}', 'NULL', '{}', '"', '\\', ',', '']],
  ['nesting of 1,000 levels', nested(1_000)],
  ['texts of 2 MB', 'é'.repeat(1_048_576)],
  ['numbers', [0, -1, 1e308, 5e-324, 0.1, 9_007_199_254_740_991, -1e-7]],
  [
    'keys that mean something elsewhere',
    JSON.parse('{"__proto__": 1, "constructor": {"toJSON": 2}, "": 3, "z": 4, "a": 5}'),
  ],
  ['nothing', null],
  ['empty things', ['', {}, [], [[]], false]],
  ['ids with slashes and brackets', { id: 'a/b//c[0]{1}(2)?x=%00&y=#', path: '../../etc' }],
  ['emoji and other scripts', '👩‍👩‍👧 ñ 漢字 العربية'],
]

/** Passes its input through a step, a recorded step, and a resume. */
const echo = defineAgent<Json>({
  name: 'echo',
  version: '1',
  async run({ input, step, run }) {
    const done = await step.do('do', () => input)
    await step.record({ kind: 'tool', name: 'record', input, output: input, attributes: { input } })
    await step.sleep('nap', 1)
    return [done, run.metadata]
  },
})

const breaks = defineAgent<{ message: string; name?: string }>({
  name: 'breaks',
  version: '1',
  async run({ input, step }) {
    if (input.name !== undefined) await step.do(input.name, () => 1)
    const fail = () => Promise.reject(new AppError('HTTP_FAILED', input.message, { kind: 'terminal' }))
    await step.do('fail', fail).catch(() => undefined)
    throw Object.assign(new Error(input.message), { name: 'Odd\0Name', code: 'ODD' })
  },
})

describeOnDatabases('payloads', (open) => {
  let runtime: TestRuntime
  beforeAll(async () => {
    runtime = await open({ agents: [echo, breaks] })
  })
  const run = async (agent: string, input: Json, request: object = {}) => {
    return runtime.ended(await runtime.runs.submit({ tenant: 'default', agent, input, ...request }))
  }

  it.each(EXTREMES)('%s come back as they went in', async (_what, value) => {
    const small = JSON.stringify(value).length < 10_000
    const metadata = small ? value : null
    const ended = await run('echo', value, { metadata })
    expect(ended.status).toBe('succeeded')
    expect(ended.input).toEqual(value)
    expect(ended.output).toEqual([value, metadata])
    expect(ended.metadata).toEqual(metadata)
    expect(ended.steps.map(({ output }) => output)).toEqual([value, value, null])
    expect(ended.steps[1]).toMatchObject({ input: value, attributes: { input: value } })
    expect(JSON.stringify(ended.input)).toBe(JSON.stringify(value))
  })

  it('that are too large or can’t be stored end the run with a clear error, and nothing is half-written', async () => {
    const ended = await run('echo', 'x'.repeat(4_200_000))
    expect(endingOf(ended)).toMatchObject({ status: 'failed', reason: 'OUTPUT_TOO_LARGE', incident: 'FAILURE' })
    expect(ended.steps).toMatchObject([{ key: 'do#1', status: 'failed', error: { code: 'OUTPUT_TOO_LARGE' } }])
    expect(successAcks(ended)).toEqual(FIVE_ACKS)
  })

  it('in errors are kept, and shown with visible escapes where a text column holds them', async () => {
    const message = 'broke at \0 and \ud800 and "quotes" {braces}'
    const ended = await run('breaks', { message })
    expect(ended.error).toMatchObject({ message })
    expect(ended.steps).toMatchObject([{ status: 'failed', error: { message, code: 'HTTP_FAILED' } }])
    expect(ended.incident?.message).toBe('broke at \\u0000 and \\ud800 and "quotes" {braces}')
    await expect(runtime.runs.result('default', ended.runId)).rejects.toThrow(message)
  })

  it.each([['a\0b'], ['\ud800'], ['']])('a step’s name that can’t be stored as it is (%j) is refused', async (name) => {
    const ended = await run('breaks', { message: '', name })
    expect(endingOf(ended)).toMatchObject({ status: 'failed', reason: 'INVALID_REQUEST', incident: 'FAILURE' })
    expect(successAcks(ended)).toEqual(FIVE_ACKS)
  })

  it.each([['line\nbreak [x]/{y}'], ['NULL'], ['"quoted\\"'], ['x'.repeat(200)]])(
    'a step may be named %j',
    async (name) => {
      const ended = await run('breaks', { message: 'm', name })
      expect(ended.steps[0]).toMatchObject({ name, key: `${name}#1`, status: 'succeeded' })
    },
  )

  it('in the words of whoever stops a run are kept readable', async () => {
    const handle = await runtime.runs.submit({ tenant: 'default', agent: 'echo', runAt: new Date(Date.now() + 60_000) })
    await runtime.runs.stop('default', handle.runId, { by: 'a\0b', why: '\ud800' })
    const ended = await runtime.ended(handle)
    expect(ended.stop).toMatchObject({ by: 'a\\u0000b', why: '\\ud800' })
  })

  it('in an idempotency key with slashes and brackets are just a key', async () => {
    const idempotencyKey = 'a/b[c]{d}"e"\\,NULL'
    const [first, second] = [await run('echo', 1, { idempotencyKey }), await run('echo', 1, { idempotencyKey })]
    expect(second.runId).toBe(first.runId)
    expect(first.idempotencyKey).toBe(idempotencyKey)
  })
})
