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
export type Held = 'throughout' | 'before steps' | 'at the end' | 'not checked' | 'disabled'

/** `checked`: MID_EXECUTION_POLICY_CHECK_ENABLED. */
export function heldText(definition: PolicyDefinition, expressions: Expressions, checked: boolean): Held {
  if (!definition.enabled) return 'disabled'
  const atEnd = notAtEnd(inForce(definition, 0, expressions)) === null
  if (atEnd) return checked ? 'throughout' : 'at the end'
  return checked ? 'before steps' : 'not checked'
}

const WHY_NOT_CHECKED =
  'Held against no run: they ask for the next step or add up a period, and MID_EXECUTION_POLICY_CHECK_ENABLED is off'

/** What must not look like protection: enabled policies that are held against no run, with why. */
export function whatIsNotHeld(definitions: readonly PolicyDefinition[], checked: boolean): string[] {
  const expressions = new Expressions()
  const notHeld = definitions.filter((each) => heldText(each, expressions, checked) === 'not checked')
  return notHeld.length === 0 ? [] : [`${WHY_NOT_CHECKED}: ${notHeld.map(({ name }) => name).join(', ')}`]
}

export function sayWhatIsNotHeld(terminal: Terminal, definitions: readonly PolicyDefinition[], checked: boolean): void {
  for (const text of whatIsNotHeld(definitions, checked)) terminal.err(terminal.styleErr('yellow', text))
}
