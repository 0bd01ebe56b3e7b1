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

/** When this version holds the policy against runs. */
export function heldText(
  definition: PolicyDefinition,
  expressions: Expressions,
): 'at the end' | 'not yet' | 'disabled' {
  if (!definition.enabled) return 'disabled'
  return notAtEnd(inForce(definition, 0, expressions)) === null ? 'at the end' : 'not yet'
}

/** What must not look like protection: enabled policies that this version holds against no run. */
export function sayWhatIsNotHeld(terminal: Terminal, definitions: readonly PolicyDefinition[]): void {
  const expressions = new Expressions()
  const names = definitions.filter((each) => heldText(each, expressions) === 'not yet').map(({ name }) => name)
  if (names.length === 0) return
  const text = `Not held against any run by this version, which looks at policies when a run ends: ${names.join(', ')}`
  terminal.err(terminal.styleErr('yellow', text))
}
