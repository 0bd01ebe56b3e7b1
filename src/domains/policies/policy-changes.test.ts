import { describe, expect, it } from 'vitest'
import { Expressions } from './expressions.ts'
import { parsePolicies } from './policies.ts'
import { planChanges } from './policy-changes.ts'
import type { PolicyInput } from './policy-document.ts'

const define = (...policies: PolicyInput[]) => parsePolicies(policies, new Expressions())
const stored = (name: string, version: number, active: boolean, max = 1) => {
  const [definition] = define({ name, metric: 'steps', max })
  return { name, version, active, definition: definition! }
}
const latest = [stored('kept', 3, true), stored('other', 1, true), stored('gone', 2, false)]

describe('what applying policies changes', () => {
  it.each([
    ['a new one gets its first version', { name: 'new', metric: 'steps', max: 1 }, 'created', 1, null],
    ['the same one keeps its version', { name: 'kept', metric: 'steps', max: 1 }, 'unchanged', 3, 3],
    ['another bound is the next version', { name: 'kept', metric: 'steps', max: 2 }, 'changed', 4, 3],
    ['so is another kind', { name: 'kept', when: 'run.steps > 1' }, 'changed', 4, 3],
    ['and being disabled', { name: 'kept', metric: 'steps', max: 1, enabled: false }, 'changed', 4, 3],
    ['a removed one comes back with its next version', { name: 'gone', metric: 'steps', max: 1 }, 'created', 3, null],
  ] as const)('%s', (_what, policy, change, version, previousVersion) => {
    const [definition] = define(policy)
    expect(planChanges(latest, [definition!], false)).toEqual([
      { name: policy.name, change, version, previousVersion, definition },
    ])
  })

  it('what is not named stays, or goes with prune', () => {
    const wanted = define({ name: 'kept', metric: 'steps', max: 1 })
    const pruned = planChanges(latest, wanted, true).map(({ name, change, version }) => [name, change, version])
    expect(pruned).toEqual([
      ['kept', 'unchanged', 3],
      ['other', 'removed', 1],
    ])
    expect(planChanges(latest, wanted, false)).toHaveLength(1)
  })
})

describe('a policy that is stored as JSON and comes back', () => {
  it.each([0, -0, 1e-7, 0.1 + 0.2, 5e-324, Number.MAX_SAFE_INTEGER])('is the same: a limit of %s', (max) => {
    const [definition] = define({ name: 'kept', metric: 'steps', max })
    const before = { name: 'kept', version: 1, active: true, definition: JSON.parse(JSON.stringify(definition)) }
    expect(planChanges([before], [definition!], false)).toMatchObject([{ change: 'unchanged' }])
  })
})

describe('policies that are refused', () => {
  const limit = { name: 'p', metric: 'steps', max: 1 }
  it.each([
    ['a negative limit', { ...limit, max: -1 }, 'policies[0]: max is negative'],
    ['a limit that is no number', { ...limit, max: Number.NaN }, 'policies[0]: max must be a finite number'],
    ['an infinite limit', { ...limit, max: Number.POSITIVE_INFINITY }, 'policies[0]: max must be a finite number'],
    ['an unknown metric', { ...limit, metric: 'stepz' }, '"stepz" is not one of cost_usd, tokens, steps'],
    ['an unknown effect', { ...limit, effect: 'shout' }, 'is not one of terminate, pause, require_approval, warn'],
    ['an unknown field', { ...limit, agents: 'x' }, 'there is no field "agents" here'],
    ['a limit and a condition at once', { ...limit, when: 'true' }, "metric can't stand beside when"],
    ['neither a limit nor a condition', { name: 'p' }, 'metric is missing'],
    ['a name with a control character', { ...limit, name: 'a\0b' }, 'policies[0]: name must have 1 to 200 letters'],
    ['no name', { metric: 'steps', max: 1 }, 'name is missing'],
    ['a lone surrogate', { ...limit, agent: '\ud800' }, 'policies[0]: agent must have 1 to 200 characters'],
    ['a window over one run', { ...limit, window: 'day' }, 'policies[0]: window must be run for the scope run'],
    [
      'a scope without a window',
      { ...limit, scope: 'tenant' },
      'policies[0]: window must be minute, hour, day or month',
    ],
    [
      'time over many runs',
      { ...limit, metric: 'wall_clock_seconds', scope: 'agent', window: 'day' },
      'policies[0]: scope must be',
    ],
    [
      'requests over a day',
      { ...limit, metric: 'requests_per_minute', window: 'day' },
      'policies[0]: window must be minute',
    ],
    [
      'an expression that does not type-check',
      { name: 'p', when: 'run.agent > 1' },
      'policies[0]: types that don’t go together: string > int',
    ],
    ['an expression with a NUL', { name: 'p', when: '"\0" == ""' }, 'policies[0]: when holds a control character'],
    [
      'an expression with half a character',
      { name: 'p', when: '"\ud800" == ""' },
      'policies[0]: when holds a control character',
    ],
    ['no policy at all', null, 'policies[0]: a policy must be a map of fields, not nothing'],
    ['a list', [], 'policies[0]: a policy must be a map of fields, not a list'],
  ])('%s', (_what, policy, message) => {
    expect(() => define(policy as never)).toThrow(expect.objectContaining({ code: 'INVALID_POLICY' }))
    expect(() => define(policy as never)).toThrow(message)
  })

  it('two of one name, and more than a tenant may have', () => {
    expect(() => define(limit as never, { name: 'p', when: 'true' })).toThrow(
      'policies[1]: the name "p" is there twice',
    )
    const many = Array.from({ length: 201 }, (_, i) => ({ ...limit, name: `p${i}` }))
    expect(() => define(...(many as never[]))).toThrow(expect.objectContaining({ code: 'INVALID_POLICY' }))
  })

  it('all problems are named at once', () => {
    expect(() => define({ ...limit, max: -1 } as never, { name: 'q', when: 'run.x > ' })).toThrow(
      /policies\[0\]: max is negative\npolicies\[1\]: the expression ends too soon/,
    )
  })
})
