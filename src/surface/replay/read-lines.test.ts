import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, describe, expect, test } from 'vitest'
import { openLines, type RawLine } from './read-lines.ts'

const folder = mkdtempSync(join(tmpdir(), 'concordat-lines-'))
afterAll(() => rmSync(folder, { recursive: true }))

function fileOf(name: string, content: string | Buffer): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

async function readAll(path: string): Promise<RawLine[]> {
  const read: RawLine[] = []
  for await (const line of (await openLines(path)).lines) read.push(line)
  return read
}

const shown = (lines: RawLine[]) => lines.map((line) => [line.lineNumber, 'text' in line ? line.text : 'unreadable'])

const variants: [string, (content: string | Buffer) => string][] = [
  ['plain', (content) => fileOf('a.jsonl', content)],
  ['gzipped', (content) => fileOf('a.jsonl.gz', gzipSync(content))],
]

describe.each(variants)('a %s file', (_what, write) => {
  test('gives its lines with their numbers, blank ones left out', async () => {
    expect(shown(await readAll(write('one\n\ntwo\r\n  \nthree')))).toEqual([
      [1, 'one'],
      [3, 'two\r'],
      [5, 'three'],
    ])
  })

  test('may be empty', async () => {
    expect(await readAll(write(''))).toEqual([])
    expect(await readAll(write('\n'))).toEqual([])
  })

  test('tells how far it has been read, up to its size', async () => {
    const path = write('{"a":1}\n'.repeat(200_000))
    const { sizeBytes, lines } = await openLines(path)
    let last = 0
    for await (const { bytesRead } of lines) {
      expect(bytesRead).toBeGreaterThanOrEqual(last)
      last = bytesRead
    }
    expect(last).toBe(sizeBytes)
  })

  test('keeps characters whole that lie across two chunks, and drops a byte order mark', async () => {
    const text = `${'é🙂'.repeat(10_000)}`
    expect(shown(await readAll(write(`\ufeff${text}\nnext`)))).toEqual([
      [1, text],
      [2, 'next'],
    ])
  })

  test('reports a line that is not UTF-8 and goes on', async () => {
    const content = Buffer.concat([
      Buffer.from('one\n'),
      Buffer.from([0x22, 0xff, 0xfe, 0x22]),
      Buffer.from('\nthree\n'),
    ])
    const lines = await readAll(write(content))
    expect(lines).toMatchObject([
      { text: 'one' },
      { lineNumber: 2, unreadable: 'the line is not UTF-8' },
      { text: 'three' },
    ])
  })

  test('reports a line over 16 MiB and goes on, without keeping it', async () => {
    const lines = await readAll(write(`one\n${'x'.repeat(16_777_217)}\nthree`))
    const tooLong = { lineNumber: 2, unreadable: 'the line is longer than 16777216 bytes' }
    expect(lines).toMatchObject([{ text: 'one' }, tooLong, { text: 'three' }])
  })

  test('may hold a line of exactly 16 MiB', async () => {
    const [line] = await readAll(write('x'.repeat(16_777_216)))
    expect(line && 'text' in line && line.text.length).toBe(16_777_216)
  })

  test('can be left in the middle', async () => {
    for await (const line of (await openLines(write('one\ntwo\n'.repeat(100_000)))).lines) {
      expect(line.lineNumber).toBe(1)
      break
    }
  })
})

describe('gzip data that is damaged', () => {
  const whole = gzipSync(
    Array.from({ length: 50_000 }, (_, i) => `{"line":${i + 1},"random":${Math.sin(i)}}`).join('\n'),
  )

  test('by its end: gives every line before, then the damage at its line', async () => {
    const lines = await readAll(fileOf('cut.jsonl.gz', whole.subarray(0, Math.floor(whole.length / 2))))
    const last = lines.at(-1)!
    expect(last).toMatchObject({ lineNumber: lines.length, unreadable: expect.stringContaining('Z_BUF_ERROR') })
    expect(lines.length).toBeGreaterThan(20_000)
    expect(lines.slice(0, -1).every((line) => 'text' in line && JSON.parse(line.text).line === line.lineNumber)).toBe(
      true,
    )
  })

  test('in the middle: gives the lines before, then the damage', async () => {
    const damaged = Buffer.from(whole)
    damaged.fill(0xff, 100_000, 100_400)
    const lines = await readAll(fileOf('damaged.jsonl.gz', damaged))
    expect(lines.length).toBeGreaterThan(1_000)
    expect(lines.at(-1)).toMatchObject({ unreadable: expect.stringContaining('Z_DATA_ERROR') })
  })

  test('from the start, or not gzip at all', async () => {
    for (const content of ['{"not":"gzip"}\n', whole.subarray(0, 5)]) {
      const lines = await readAll(fileOf('no.jsonl.gz', content))
      expect(lines).toMatchObject([{ lineNumber: 1, unreadable: expect.stringContaining('gzip') }])
    }
  })
})

test('several gzip members in one file are read as one', async () => {
  const path = fileOf('two.jsonl.gz', Buffer.concat([gzipSync('one\ntw'), gzipSync('o\nthree\n')]))
  expect(shown(await readAll(path))).toEqual([
    [1, 'one'],
    [2, 'two'],
    [3, 'three'],
  ])
})

test.each([
  ['that is not there', join(folder, 'nowhere.jsonl')],
  ['that is a folder', folder],
])('a file %s is refused', async (_what, path) => {
  await expect(openLines(path)).rejects.toThrow(
    expect.objectContaining({ code: 'INVALID_REQUEST', message: expect.stringContaining(path) }),
  )
})
