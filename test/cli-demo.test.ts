import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { runCli } from './support/run-cli.ts'

const folder = mkdtempSync(join(tmpdir(), 'concordat-demo-test-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('the demo', () => {
  test('plays fourteen runs, proves the agreement, and leaves nothing behind', async () => {
    const { code, out, err } = await runCli(['demo'], { cwd: folder, env: { TMPDIR: folder } })
    expect({ code, err }).toEqual({ code: 0, err: '' })
    const lines = out.trimEnd().split('\n')
    expect(lines).toContain(
      '14 runs ended · 14 incidents · 14 policy evaluations · 14 traces · 70 acks · 0 missing · 0 drift · outbox 0',
    )
    const table = lines.slice(lines.findIndex((line) => line.startsWith('  AGENT')) + 1).slice(0, 14)
    expect(table.map((line) => line.trim().split(/ {2,}/).slice(0, 6))).toEqual([
      ['census', 'succeeded', 'COMPLETED', 'SUCCESS', 'NO_VIOLATION', 'COMPLETE'],
      ['exports', 'succeeded', 'COMPLETED', 'SUCCESS', 'NO_VIOLATION', 'COMPLETE'],
      ['links', 'succeeded', 'COMPLETED', 'SUCCESS', 'NO_VIOLATION', 'COMPLETE'],
      ['report', 'succeeded', 'COMPLETED', 'PARTIAL', 'NO_VIOLATION', 'COMPLETE'],
      ['summary', 'succeeded', 'COMPLETED', 'SUCCESS', 'ADVISORY', 'COMPLETE'],
      ['flaky', 'succeeded', 'COMPLETED', 'SUCCESS', 'NO_VIOLATION', 'COMPLETE'],
      ['missing', 'failed', 'FAILED', 'FAILURE', 'NO_VIOLATION', 'COMPLETE'],
      ['chatty', 'failed_policy', 'FAILED', 'BLOCKED', 'VIOLATION', 'ABORTED'],
      ['tidy', 'succeeded', 'COMPLETED', 'SUCCESS', 'ADVISORY', 'COMPLETE'],
      ['publish', 'succeeded', 'COMPLETED', 'SUCCESS', 'NO_VIOLATION', 'COMPLETE'],
      ['deploy', 'failed_policy', 'FAILED', 'BLOCKED', 'NO_VIOLATION', 'ABORTED'],
      ['watch', 'cancelled', 'FAILED', 'PARTIAL', 'NO_VIOLATION', 'ABORTED'],
      ['ledger', 'succeeded', 'COMPLETED', 'SUCCESS', 'NO_VIOLATION', 'COMPLETE'],
      ['survey', 'succeeded', 'COMPLETED', 'SUCCESS', 'NO_VIOLATION', 'COMPLETE'],
    ])
    for (const staged of [
      'a scripted model answers',
      'answers 503 twice',
      'a database trigger refuses',
      'falls silent',
    ]) {
      expect(out).toContain(`staged: `)
      expect(out).toContain(staged)
    }
    expect(readdirSync(folder).filter((name) => name.startsWith('concordat-demo'))).toEqual([])
  })
})
