import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { runCli } from './support/run-cli.ts'

const folder = mkdtempSync(join(tmpdir(), 'concordat-demo-test-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** The rows under its heads, without the events of `ledger`: how often that is tried again depends on the machine. */
function tableOf(lines: readonly string[]): string[][] {
  const rows = lines.slice(lines.findIndex((line) => line.startsWith('  AGENT')) + 1).slice(0, 14)
  return rows.map((row) => {
    const cells = row.trim().split(/ {2,}/)
    return cells[0] === 'ledger' ? cells.slice(0, -1) : cells
  })
}

describe('the demo', () => {
  test('plays fourteen runs, proves the agreement, and leaves nothing behind', async () => {
    const { code, out, err } = await runCli(['demo'], { cwd: folder, env: { TMPDIR: folder } })
    expect({ code, err }).toEqual({ code: 0, err: '' })
    const lines = out.trimEnd().split('\n')
    expect(lines).toContain(
      '14 runs ended · 14 incidents · 14 policy evaluations · 14 traces · 70 acks · 0 missing · 0 drift · outbox 0',
    )
    expect(tableOf(lines), 'as README says').toEqual(tableOf(readFileSync('README.md', 'utf8').split('\n')))
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
