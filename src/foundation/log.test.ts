import { describe, expect, it } from 'vitest'
import { AppError } from './app-error.ts'
import { createLogger, type LogLevel } from './log.ts'

function capture(level: LogLevel = 'debug') {
  const lines: Record<string, unknown>[] = []
  const log = createLogger({ level, destination: { write: (line) => lines.push(JSON.parse(line)) } })
  return { log, lines }
}

describe('the log', () => {
  it('is one JSON object a line, with the level as a word and the fields of its parents', () => {
    const { log, lines } = capture()
    log.child({ runId: 'r1' }).info({ steps: 3 }, 'Run ended')
    expect(lines).toEqual([expect.objectContaining({ level: 'info', runId: 'r1', steps: 3, msg: 'Run ended' })])
    expect(lines[0]?.time).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/)
  })

  it('leaves out what is below its level', () => {
    const { log, lines } = capture('warn')
    log.info({}, 'no')
    log.warn({}, 'yes')
    expect(lines.map((line) => line.msg)).toEqual(['yes'])
  })

  it('redacts secrets under keys of any depth, but not token counts', () => {
    const { log, lines } = capture()
    log.info(
      { headers: { Authorization: 'Bearer abc', 'set-cookie': ['a'] }, openaiApiKey: 'k', tokensIn: 5, leaseToken: 2 },
      'x',
    )
    expect(lines[0]).toMatchObject({
      headers: { Authorization: '[redacted]', 'set-cookie': '[redacted]' },
      openaiApiKey: '[redacted]',
      tokensIn: 5,
      leaseToken: 2,
    })
  })

  it('redacts secrets inside texts, messages and errors', () => {
    const { log, lines } = capture()
    const error = new AppError('DATABASE_UNREACHABLE', 'postgres://concordat:hunter2@db:5432/x does not answer', {
      cause: new Error('connect ECONNREFUSED postgres://concordat:hunter2@db'),
    })
    log
      .child({ url: 'redis://:hunter2@cache' })
      .error({ error, sent: ['Bearer hunter2-hunter2'] }, 'key cdk_hunter2hunter2')
    expect(JSON.stringify(lines)).not.toContain('hunter2')
    expect(lines[0]).toMatchObject({
      url: 'redis://:[redacted]@cache',
      error: {
        code: 'DATABASE_UNREACHABLE',
        message: 'postgres://concordat:[redacted]@db:5432/x does not answer',
        cause: { message: 'connect ECONNREFUSED postgres://concordat:[redacted]@db' },
      },
      msg: 'key cdk_[redacted]',
    })
  })

  it('never fails on what it is given: cycles, bigints, null', () => {
    const { log, lines } = capture()
    const cycle: Record<string, unknown> = { amount: 5n, nothing: null }
    cycle.self = cycle
    log.info(cycle, 'odd')
    expect(lines[0]).toMatchObject({ amount: '5', nothing: null, msg: 'odd' })
  })
})
