import { describe, expect, it } from 'vitest'
import { Expressions, evaluate, inForce, lintPolicies } from '../src/domains/policies/policies.ts'
import { codeBlocks, pages } from './support/markdown.ts'

const files = pages().flatMap((page) => codeBlocks(page, 'yaml').map(({ text }) => ({ page: page.path, text })))
const expressions = new Expressions()
const facts = {
  tenantId: 'default',
  agent: 'triage',
  costNanoUsd: 700_000_000n,
  uncostedSteps: 0,
  tokensIn: 60_000,
  tokensOut: 60_000,
  steps: 30,
  failedSteps: 20,
  toolCalls: 25,
  wallClockMs: 700_000,
}

describe('the policy files that docs show', () => {
  it.each(files)('are without problems, in $page', async ({ text }) => {
    const { policies, findings } = await lintPolicies(text, expressions)
    expect(findings).toEqual([])
    expect(policies.length).toBeGreaterThan(0)
  })

  it('say of a run what the page says', async () => {
    const linted = await Promise.all(files.map(({ text }) => lintPolicies(text, expressions)))
    const policies = linted.flatMap((file) => file.policies)
    const { outcome, findings } = evaluate(
      facts,
      policies.map((policy) => inForce(policy, 1, expressions)),
    )
    expect(outcome).toBe('VIOLATION')
    expect(Object.fromEntries(findings.map(({ name, met }) => [name, met]))).toEqual({
      'max-cost': false,
      'many-steps': true,
      priced: true,
      'searches-without-end': false,
      'shell-is-for-the-cheap': null,
      'known-agents': true,
      'no-destructive-tools': null,
      'slow-and-dear': false,
      'named-as-agreed': true,
      'run-cost': false,
      'agent-hour': null,
      'key-day': null,
      'tenant-month': null,
    })
  })
})
