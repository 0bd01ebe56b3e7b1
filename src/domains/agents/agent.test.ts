import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { Json } from '../../foundation/json.ts'
import { type AgentContext, defineAgent } from './agent.ts'

const ticketSchema = z.object({ ticket: z.string(), priority: z.int().default(3) })

function contextOf(input: Json): AgentContext {
  return {
    input,
    step: {} as AgentContext['step'],
    signal: new AbortController().signal,
    secrets: { get: () => 'secret' },
    run: { runId: 'r', tenantId: 't', metadata: null },
  }
}

describe('a code agent', () => {
  const triage = defineAgent({
    name: 'team/triage [beta]',
    version: '1',
    input: ticketSchema,
    run: ({ input }) => `${input.ticket}:${input.priority}`,
    tools: { fetch: (input: { url: string }) => input.url },
    maxRunning: 2,
    timeoutSeconds: 60,
  })

  test('carries what others need to know of it', () => {
    expect(triage).toMatchObject({
      kind: 'code',
      name: 'team/triage [beta]',
      version: '1',
      maxRunning: 2,
      timeoutSeconds: 60,
    })
    expect(triage.inputSchema).toMatchObject({ type: 'object', required: ['ticket'] })
    expect([...triage.tools.keys()]).toEqual(['fetch'])
    expect(Object.isFrozen(triage)).toBe(true)
  })

  test('accepts an input that fits, and leaves it as it was sent', () => {
    expect(triage.validateInput({ ticket: 'x', note: 1 })).toEqual({ ticket: 'x', note: 1 })
  })

  test('refuses an input that does not fit, naming every wrong field', () => {
    expect(() => triage.validateInput({ ticket: 5, priority: 'high' })).toThrow(
      expect.objectContaining({
        code: 'INVALID_INPUT',
        message: expect.stringMatching(/input of agent team\/triage \[beta\].*ticket: .*string.*; priority: .*number/),
        details: {
          issues: [expect.objectContaining({ path: 'ticket' }), expect.objectContaining({ path: 'priority' })],
        },
      }),
    )
  })

  test('runs on the input as its schema makes it', async () => {
    expect(await triage.run(contextOf({ ticket: 'x' }))).toBe('x:3')
  })

  test('takes anything without a schema', async () => {
    const echo = defineAgent({ name: 'echo', version: '1', run: ({ input }) => input })
    expect(echo.inputSchema).toBeNull()
    expect(echo.validateInput([1])).toEqual([1])
    expect(await echo.run(contextOf('x'))).toBe('x')
  })

  test('refuses what its schema can only check asynchronously', () => {
    const input = z.string().refine(async () => true)
    const agent = defineAgent({ name: 'a', version: '1', input, run: () => null })
    expect(() => agent.validateInput('x')).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }))
  })
})

describe('an agent of a plan', () => {
  test('has its plan checked', () => {
    const agent = defineAgent({ name: 'p', version: '1', plan: { steps: [{ skill: 'wait', params: { ms: 5 } }] } })
    expect(agent).toMatchObject({ kind: 'plan', plan: { steps: [{ name: 'wait' }] } })
    expect(() => defineAgent({ name: 'p', version: '1', plan: { steps: [] } })).toThrow(
      expect.objectContaining({ code: 'INVALID_PLAN' }),
    )
  })
})

describe('the digest', () => {
  const base = { name: 'a', version: '1' }
  const digestOf = (schema?: z.ZodType, version = '1') =>
    defineAgent({ ...base, version, ...(schema && { input: schema }), run: () => null }).digest

  test('is the same for another function', () => {
    expect(defineAgent({ ...base, run: () => 1 }).digest).toBe(digestOf())
    expect(digestOf()).toMatch(/^[0-9a-f]{64}$/)
  })

  test('differs by version, input schema, kind and plan', () => {
    const planDigest = (ms: number) =>
      defineAgent({ ...base, plan: { steps: [{ skill: 'wait', params: { ms } }] } }).digest
    const digests = [
      digestOf(),
      digestOf(ticketSchema),
      digestOf(z.string()),
      digestOf(undefined, '2'),
      planDigest(1),
      planDigest(2),
    ]
    expect(new Set(digests).size).toBe(digests.length)
  })
})

test.each([
  { name: '', version: '1' },
  { name: 'a\0', version: '1' },
  { name: 'a', version: '' },
  { name: 'a', version: '1', maxRunning: 0 },
  { name: 'a', version: '1', maxRunning: 1.5 },
  { name: 'a', version: '1', timeoutSeconds: -1 },
])('a definition with %j is refused', (definition) => {
  expect(() => defineAgent({ ...definition, run: () => null })).toThrow(
    expect.objectContaining({ code: 'INVALID_INPUT' }),
  )
})
