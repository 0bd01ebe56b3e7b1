import { describe, expect, test } from 'vitest'
import { age, count, duration, exactDuration, plural, usd } from './format.ts'
import { toJson, toJsonLine } from './json.ts'
import { progressLine } from './progress.ts'
import { tableLines } from './table.ts'
import { printable } from './terminal.ts'

const plain = (_style: unknown, text: string) => text

describe('text of unknown origin', () => {
  test.each([
    ['colours and cursor movements', 'a\u001b[31mred\u001b[0m\u001b[2Jb', 'aredb'],
    ['a title that a terminal would take', 'x\u001b]0;owned\u0007y', 'xy'],
    ['line breaks, tabs and progress bars', 'a\r\nb\tc\rd', 'a b c d'],
    ['NUL, backspace and delete', 'a\u0000b\u0008c\u007f', 'a␀b␈c␡'],
    ['C1 controls', 'a\u009b31mb', expect.not.stringContaining('\u009b')],
    ['text that runs backwards', 'exe.\u202etxt', 'exe.\\u202etxt'],
    ['lone surrogates', 'a\ud800b', 'a\\ud800b'],
    ['emoji and other scripts', '🙂 é 日本', '🙂 é 日本'],
  ])('shows %s harmlessly on one line', (_what, text, shown) => {
    expect(printable(text)).toEqual(shown)
  })

  test('is cut with an ellipsis', () => {
    expect(printable('x'.repeat(3_000_000), 10)).toBe('xxxxxxxxx…')
  })
})

describe('a table', () => {
  const columns = [
    { head: 'A' },
    { head: 'NAME', flexible: true },
    { head: 'N', align: 'right' },
    { head: 'MORE', optional: true },
  ] as const
  const rows = [
    ['1', 'a long name of something', '7', 'x'],
    ['22', '日本', '1,000', ''],
  ]
  const lines = (width: number, cells = rows) => tableLines({ columns: width, style: plain }, columns, cells)

  test('aligns its columns, wide characters included', () => {
    expect(lines(80)).toEqual([
      '  A   NAME                          N  MORE',
      '  1   a long name of something      7  x',
      '  22  日本                      1,000',
    ])
  })

  test('shrinks what is flexible, then leaves out what is optional', () => {
    expect(lines(36)[1]).toBe('  1   a long name of s…      7  x')
    expect(lines(28)[0]).toBe('  A   NAME                 N')
    expect(lines(28).every((line) => line.length <= 28)).toBe(true)
  })

  test('leaves out an optional column that is empty', () => {
    expect(lines(80, [['1', 'a', '2', '']])[0]).toBe('  A  NAME  N')
  })
})

describe('numbers for people', () => {
  test.each([
    [0.4, '0 ms'],
    [999, '999 ms'],
    [1_234, '1.23 s'],
    [59_900, '59.9 s'],
    [123_000, '2 m 03 s'],
    [3_720_000, '1 h 02 m'],
    [86_399_999, '23 h 59 m'],
    [3_407_220_000, '39 d 10 h'],
    [null, '–'],
  ])('%s ms are %s', (ms, text) => {
    expect(duration(ms)).toBe(text)
  })

  test.each([
    [250, '250 ms'],
    [5_000, '5 s'],
    [62_500, '1 m 02.5 s'],
    [3_605_000, '1 h 00 m 05 s'],
    [90_061_001, '25 h 01 m 01.001 s'],
    [null, '–'],
  ])('%s ms that somebody has set are exactly %s', (ms, text) => {
    expect(exactDuration(ms)).toBe(text)
  })

  test('ages, counts, money', () => {
    expect([age(-5), age(61_000), age(7_300_000), age(9e7)]).toEqual(['0 s', '1 m', '2 h', '1 d'])
    expect([count(1_234_567n), count(null), plural(1, 'run'), plural(2, 'policy', 'policies')]).toEqual([
      '1,234,567',
      '–',
      '1 run',
      '2 policies',
    ])
    expect([usd(0.000021), usd(null)]).toEqual(['$0.000021', '–'])
  })

  test('JSON shows no character raw that forges what the screen shows, and means the same', () => {
    const value = { 'exe.\u202etxt': ['\u009b2J', '\u2066\u007f\u2028\ufeff', 'é 日本 🙂\n'] }
    for (const text of [toJson(value), toJsonLine(value)]) {
      expect(text).toContain('exe.\\u202etxt')
      expect(text).toContain('é 日本 🙂')
      expect(text).not.toMatch(/[\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff]/)
      expect(JSON.parse(text)).toEqual(value)
    }
  })

  test('JSON keeps what a number can’t hold', () => {
    expect(JSON.parse(toJson({ small: 5n, large: 2n ** 70n, at: new Date(0), text: '\0\ud800' }))).toEqual({
      small: 5,
      large: '1180591620717411303424',
      at: '1970-01-01T00:00:00.000Z',
      text: '\0\ud800',
    })
  })
})

describe('the progress bar', () => {
  test.each([40, 60, 80, 200])('fits a line of %i characters', (columns) => {
    const line = progressLine(
      { columns, styleErr: plain },
      { share: 0.5, done: 1_234, text: '1,234 of 2,676 runs' },
      10_000,
    )
    expect(line.length).toBeLessThan(columns)
    expect(line).toContain('50 %  1,234 of 2,676 runs')
  })
})
