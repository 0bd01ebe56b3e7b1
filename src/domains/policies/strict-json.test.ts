import { expect, test } from 'vitest'
import { jsonBreak } from './strict-json.ts'

test.each([
  ['{"a":[1,2,],"b":1}', 10, 'a value'],
  ['{"a":1,}', 7, 'a key in double quotes'],
  ['{a: 1}', 1, 'a key in double quotes or }'],
  [' [1}', 3, 'a comma or the end of the list or map'],
  ['[1 2]', 3, 'a comma or the end of the list or map'],
  ['{"a" 1}', 5, 'a colon'],
  ["['x']", 1, 'a value or ]'],
  ['[01]', 2, 'a comma or the end of the list or map'],
  ['["a\tb"]', 1, 'a value or ]'],
  ['[] # comment', 3, 'nothing more'],
  ['[', 1, 'a value or ]'],
  ['', 0, 'a value'],
])('%j is not JSON from %i on: %s is expected', (text, start, expected) => {
  expect(() => JSON.parse(text)).toThrow()
  expect(jsonBreak(text)).toMatchObject({ start, expected })
})

test('what JSON.parse takes is JSON, and what a changed character makes of it is told alike', () => {
  const text = JSON.stringify(
    { a: [{}, [], -1.5e-7, 'x"\\\u2028é\n', true, null], b: { c: 0, '': [[1], { d: 2 }] } },
    null,
    1,
  )
  expect(jsonBreak(text)).toBe(null)
  const isJson = (changed: string) => {
    try {
      JSON.parse(changed)
      return true
    } catch {
      return false
    }
  }
  for (let at = 0; at < text.length; at++) {
    for (const char of ['', ',', '}', ']', '"', ':', '0', ' ', '\\', '-']) {
      const changed = text.slice(0, at) + char + text.slice(at + 1)
      expect(jsonBreak(changed) === null, changed).toBe(isJson(changed))
    }
  }
})
