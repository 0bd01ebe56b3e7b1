import { expect, test } from 'vitest'
import { z } from 'zod'
import { issuesText } from './schema-issues.ts'

test('what a value is refused for is one line, each field with its path, and has an end', () => {
  const schema = z.object({ steps: z.array(z.object({ name: z.string() })) })
  const refusal = (value: unknown) => issuesText(schema.safeParse(value).error ?? { issues: [] })
  expect(refusal(1)).toMatch(/^Invalid input: expected object/)
  expect(refusal({ steps: [{ name: 'a' }, {}] })).toMatch(/^steps\[1\]\.name: Invalid input/)
  expect(refusal({ steps: Array(30).fill({}) })).toMatch(/steps\[9\]\.name: [^;]+; and 20 more$/)
})
