import { describe, expect, test } from 'vitest'
import { runCommandLine } from './command-line.ts'

/** No command of these tests gets as far as a database. */
async function cli(...args: string[]) {
  const printed = { out: '', err: '' }
  const plain = (_style: unknown, text: string) => text
  const terminal = {
    out: (line: string) => {
      printed.out += `${line}\n`
    },
    err: (line: string) => {
      printed.err += `${line}\n`
    },
    live: () => () => {},
    unread: new AbortController().signal,
    columns: 80,
    style: plain,
    styleErr: plain,
  }
  const open = () => Promise.reject(new Error('no database is to be opened'))
  return { code: await runCommandLine(args, { terminal, open }), ...printed }
}

describe('a command line that can’t be understood ends with 2 and says what to do', () => {
  test.each([
    ['without a command', [], 'a command is missing'],
    ['with an unknown command', ['run'], "unknown command 'run'"],
    ['with a noun and no verb', ['audit'], 'a command is missing'],
    ['with an unknown verb', ['runs', 'lst'], 'Did you mean list?'],
    ['with an unknown option', ['runs', 'list', '--lmit', '3'], "unknown option '--lmit'"],
    ['with an argument too many', ['migrate', 'now'], 'too many arguments'],
    ['with a number that is none', ['runs', 'list', '--limit', 'many'], 'an integer from 1 to 1000'],
    ['with a number out of bounds', ['runs', 'submit', '--agent', 'a', '--priority', '101'], 'from -100 to 100'],
    ['with a status that is none', ['runs', 'list', '--status', 'done'], 'Allowed choices are queued'],
    ['with a page after no run', ['runs', 'list', '--before', 'x'], '--before takes a run id'],
    ['with a time that is none', ['runs', 'submit', '--agent', 'a', '--at', 'tomorrow'], 'ISO 8601'],
    ['with a day that is none', ['runs', 'submit', '--agent', 'a', '--at', '2026-13-45'], 'ISO 8601'],
    ['with an agent and a plan', ['runs', 'submit', '--agent', 'a', '--plan', 'p.json'], 'cannot be used with'],
    ['without the agent', ['runs', 'submit'], 'which agent?'],
    ['without the run', ['runs', 'get'], "missing required argument 'run'"],
    ['without the file', ['replay'], "missing required argument 'file'"],
    ['with a file that is not there', ['replay', 'nowhere.jsonl'], 'nowhere.jsonl'],
  ])('%s', async (_what, args, message) => {
    const { code, out, err } = await cli(...args, '--json')
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(JSON.parse(err).error).toMatchObject({
      code: 'INVALID_REQUEST',
      message: expect.stringContaining(message),
      hint: expect.any(String),
    })
  })

  test('for people: code, message, hint, next command', async () => {
    const { code, err } = await cli('runs', 'list', '--lmit', '3')
    expect(code).toBe(2)
    expect(err.split('\n')).toEqual([
      "INVALID_REQUEST  unknown option '--lmit'",
      '  (Did you mean --limit?)',
      '  hint  Correct the named option or argument.',
      '  next  concordat runs list --help',
      '',
    ])
  })
})

test('help and version are no errors', async () => {
  expect(await cli('runs', 'submit', '--help')).toMatchObject({ code: 0, out: expect.stringContaining('--plan') })
  expect(await cli('--version')).toMatchObject({ code: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
})
