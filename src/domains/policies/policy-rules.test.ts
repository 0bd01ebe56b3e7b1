import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { RunFacts } from './expression-facts.ts'
import { Expressions } from './expressions.ts'
import { type ActivePolicy, inForce, type PolicyInput, parsePolicies } from './policies.ts'
import { evaluate } from './policy-rules.ts'

const expressions = new Expressions()
type Changes = { readonly [field: string]: unknown }

const policy = (changes: Changes = {}): ActivePolicy => {
  const [definition] = parsePolicies(
    [{ name: 'p', metric: 'cost_usd', max: 0.3, ...changes } as PolicyInput],
    expressions,
  )
  return inForce(definition!, 1, expressions)
}
const condition = (when: string, changes: Changes = {}): ActivePolicy => {
  const [definition] = parsePolicies([{ name: 'c', when, ...changes } as PolicyInput], expressions)
  return inForce(definition!, 1, expressions)
}
const facts = (changes: Partial<RunFacts> = {}): RunFacts => ({
  tenantId: 'acme',
  agent: 'agent',
  costNanoUsd: null,
  uncostedSteps: 0,
  tokensIn: null,
  tokensOut: null,
  steps: 0,
  failedSteps: 0,
  toolCalls: 0,
  wallClockMs: null,
  ...changes,
})
const outcome = (used: RunFacts, ...policies: ActivePolicy[]) => evaluate(used, policies).outcome

describe('the policies in scope', () => {
  it.each([
    ['none', [], 'NOT_APPLICABLE'],
    ['only another agent’s', [policy({ agent: 'other', max: 0 })], 'NOT_APPLICABLE'],
    ['all met', [policy(), policy({ metric: 'steps', max: 5 }), condition('run.steps > 5')], 'NO_VIOLATION'],
    ['a warning hit', [policy({ metric: 'steps', max: 4, effect: 'warn' }), policy()], 'ADVISORY'],
    ['a limit hit', [policy({ metric: 'tokens', max: 99 })], 'VIOLATION'],
    ['a limit on tool calls hit', [policy({ metric: 'tool_calls', max: 1 })], 'VIOLATION'],
    ['a limit on time hit', [policy({ metric: 'wall_clock_seconds', max: 2.4 })], 'VIOLATION'],
    ['a condition hit', [condition('run.tool_calls == 2 && run.agent == "agent"')], 'VIOLATION'],
    ['a condition that asks for an approval hit', [condition('true', { effect: 'require_approval' })], 'VIOLATION'],
    ['a condition that warns hit', [condition('run.steps == 5', { effect: 'warn' })], 'ADVISORY'],
    [
      'a limit and a warning hit',
      [policy({ metric: 'tokens', max: 99 }), policy({ metric: 'steps', max: 0, effect: 'warn' })],
      'VIOLATION',
    ],
    ['only what a run’s end can’t tell', [condition('step.tool == "shell"')], 'NOT_APPLICABLE'],
    ['what a run’s end can’t tell, and a limit met', [condition('step.tool == "shell"'), policy()], 'NO_VIOLATION'],
  ])('%s', (_which, policies, expected) => {
    const used = { costNanoUsd: 300_000_000n, tokensIn: 40, tokensOut: 60, steps: 5, toolCalls: 2, wallClockMs: 2_500 }
    expect(outcome(facts(used), ...policies)).toBe(expected)
  })

  it('compare money in whole nano-dollars: 0.1 + 0.2 is not over 0.3', () => {
    const sum = facts({ costNanoUsd: 100_000_000n + 200_000_000n })
    expect(outcome(sum, policy(), condition('run.cost_usd > 0.3'))).toBe('NO_VIOLATION')
    expect(outcome(facts({ costNanoUsd: 300_000_001n }), policy())).toBe('VIOLATION')
    expect(outcome(facts({ costNanoUsd: 300_000_001n }), condition('run.cost_usd > 0.3'))).toBe('VIOLATION')
  })

  it('hold nothing against a run that recorded nothing, and say so: the value is null, not zero', () => {
    expect(evaluate(facts(), [policy({ max: 0 })])).toEqual({
      outcome: 'NO_VIOLATION',
      findings: [{ name: 'p', version: 1, metric: 'cost_usd', effect: 'terminate', limit: 0, value: null, met: true }],
    })
  })

  it('say that a part of the cost is not known', () => {
    const used = facts({ costNanoUsd: 100_000_000n, uncostedSteps: 2 })
    expect(evaluate(used, [policy()]).findings).toMatchObject([
      { met: true, value: 0.1, note: 'the cost of 2 model calls is not known' },
    ])
  })

  it.each([
    ['day', policy({ scope: 'tenant', window: 'day' }), 'one tenant uses in a day'],
    ['minute', policy({ metric: 'requests_per_minute', max: 1 }), 'a run uses in a minute'],
    ['step', condition('step.name == "x" || run.steps > 0'), 'asks for the next step'],
  ])('are neither met nor broken where a run’s end can’t tell: %s', (_which, one, why) => {
    const { outcome, findings } = evaluate(facts({ costNanoUsd: 10n ** 12n, steps: 9 }), [one])
    expect(outcome).toBe('NOT_APPLICABLE')
    expect(findings).toMatchObject([{ met: null, note: expect.stringContaining(why) }])
  })

  it.each([
    ['divides by zero', condition('1 / run.failed_steps > 1'), 'division by zero'],
    ['asks for a cost that is not known', condition('run.cost_usd > 100.0'), 'No such key: cost_usd'],
    ['no longer compiles', { ...condition('true'), compiled: new Expressions().compile('run.gone') }, 'gone'],
  ])('count as broken when the expression %s: an error never means allowed', (_what, one, why) => {
    const { outcome, findings } = evaluate(facts({ uncostedSteps: 1 }), [one as ActivePolicy])
    expect(outcome).toBe('VIOLATION')
    expect(findings).toMatchObject([{ met: false, note: expect.stringContaining(why) }])
  })

  it('keep no more than the beginning of a long expression with each run', () => {
    const [finding] = evaluate(facts(), [condition(`run.agent == "${'x'.repeat(1_000)}"`)]).findings
    expect((finding as { when: string }).when).toHaveLength(200)
  })

  it('can refuse a run whose cost is not known', () => {
    const uncosted = condition('!has(run.cost_usd)')
    expect(outcome(facts({ uncostedSteps: 1 }), uncosted)).toBe('VIOLATION')
    expect(outcome(facts(), uncosted)).toBe('NO_VIOLATION')
  })

  it('are met up to the limit itself and not beyond, for every metric', () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), fc.nat(1_000_000), (used, max) => {
        const expected = used <= max ? 'NO_VIOLATION' : 'VIOLATION'
        expect(outcome(facts({ tokensIn: used }), policy({ metric: 'tokens', max }))).toBe(expected)
        expect(outcome(facts({ steps: used }), policy({ metric: 'steps', max }))).toBe(expected)
        expect(outcome(facts({ steps: used }), condition(`run.steps > ${max}`))).toBe(expected)
        expect(outcome(facts({ costNanoUsd: BigInt(used) }), policy({ max: max / 1e9 }))).toBe(expected)
      }),
    )
  })
})
