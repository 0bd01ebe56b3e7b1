import { Expressions, inForce, isLimit, notAtEnd, type PolicyDefinition } from '../../domains/policies/policies.ts'
import { printable, type Terminal } from './terminal.ts'

/** A policy's rule on one line: `tokens ≤ 100 per tenant and day`, or its condition. */
export function ruleText(definition: PolicyDefinition): string {
  if (!isLimit(definition)) return printable(definition.when, 500)
  const { metric, max, scope, window } = definition
  const whose = scope === 'run' ? '' : ` per ${scope.replace('_', ' ')}`
  const when = window === 'run' ? '' : `${whose === '' ? ' per' : ' and'} ${window}`
  return `${metric} ≤ ${max}${whose}${when}`
}

/** When a policy is held against runs. `throughout`: before their steps and at their end. */
export type Held = 'throughout' | 'before steps' | 'at the end' | 'not checked' | 'not yet' | 'disabled'

/** `checked`: MID_EXECUTION_POLICY_CHECK_ENABLED. */
export function heldText(definition: PolicyDefinition, expressions: Expressions, checked: boolean): Held {
  if (!definition.enabled) return 'disabled'
  if (isLimit(definition) && definition.scope === 'api_key') return 'not yet'
  const atEnd = notAtEnd(inForce(definition, 0, expressions)) === null
  if (atEnd) return checked ? 'throughout' : 'at the end'
  return checked ? 'before steps' : 'not checked'
}

const WHY_NOT = {
  'not yet': 'Not held against any run by this version, which knows no API keys',
  'not checked':
    'Held against no run: they ask for the next step or add up a period, and MID_EXECUTION_POLICY_CHECK_ENABLED is off',
} as const

/** What must not look like protection: enabled policies that are held against no run, with why. */
export function whatIsNotHeld(definitions: readonly PolicyDefinition[], checked: boolean): string[] {
  const expressions = new Expressions()
  return (Object.keys(WHY_NOT) as (keyof typeof WHY_NOT)[]).flatMap((held) => {
    const names = definitions.filter((each) => heldText(each, expressions, checked) === held).map(({ name }) => name)
    return names.length === 0 ? [] : [`${WHY_NOT[held]}: ${names.join(', ')}`]
  })
}

export function sayWhatIsNotHeld(terminal: Terminal, definitions: readonly PolicyDefinition[], checked: boolean): void {
  for (const text of whatIsNotHeld(definitions, checked)) terminal.err(terminal.styleErr('yellow', text))
}
