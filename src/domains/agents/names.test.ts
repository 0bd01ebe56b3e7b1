import { describe, expect, test } from 'vitest'
import { checkName, knownNames } from './names.ts'

describe('a name', () => {
  test.each(['triage', 'team/triage [v2]', 'ünï 文字 🙂', 'a'.repeat(200)])('may be %j', (name) => {
    expect(checkName('agent name', name)).toBe(name)
  })

  test.each(['', 'a'.repeat(201), 'two\nlines', 'nul\0', 'c1\u0085', '\ud800', undefined as never, 5 as never])(
    'may not be %j',
    (name) => {
      expect(() => checkName('agent name', name)).toThrow(
        expect.objectContaining({ code: 'INVALID_INPUT', message: expect.stringContaining('agent name') }),
      )
    },
  )
})

describe('the names that are known', () => {
  test('come with the closest first', () => {
    expect(knownNames('triag', ['search', 'Try', 'triage'])).toBe('known: "triage", "Try", "search"')
  })

  test('are 50 at most, the rest counted', () => {
    const known = Array.from({ length: 54 }, (_, i) => `agent-${i}`)
    expect(knownNames('agent-7', known.slice(0, 50))).toMatch(/^known: "agent-7", .*"agent-49"$/)
    expect(knownNames('agent-7', known)).toMatch(/^known: "agent-7", "agent-0", .* and 4 more$/)
  })

  test('may be none', () => {
    expect(knownNames('triage', [])).toBe('none is known')
  })
})
