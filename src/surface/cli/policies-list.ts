import { Expressions, type StoredPolicy } from '../../domains/policies/policies.ts'
import { AppError } from '../../foundation/app-error.ts'
import { defineCommand } from './command.ts'
import { age } from './format.ts'
import { toJson } from './json.ts'
import { type Held, heldText, ruleText, sayWhatIsNotHeld } from './policy-text.ts'
import { withSession } from './session.ts'
import { tableLines } from './table.ts'
import type { Style, Terminal } from './terminal.ts'

const HELD_STYLES: { readonly [When in Held]: Style } = {
  throughout: 'green',
  'before steps': 'green',
  'at the end': 'green',
  'not checked': 'yellow',
  disabled: 'dim',
}

export const policiesList = defineCommand({
  usage: 'list',
  description: 'a tenant’s policies in force',
  run: async (context) => {
    const { terminal, options } = context
    const { tenant = 'default', json } = options
    const { policies, checked } = await withSession(context, async (concordat) => {
      const tenants = await concordat.tenants.list()
      if (tenants.some(({ tenantId }) => tenantId === tenant)) {
        const checked = concordat.config.midExecutionPolicyCheckEnabled
        return { policies: await concordat.policies.list(tenant), checked }
      }
      throw new AppError('UNKNOWN_TENANT', `there is no tenant ${JSON.stringify(tenant)}`)
    })
    if (json) terminal.out(toJson({ tenant, policies: policyReports(policies, checked) }))
    else show(terminal, tenant, policies, checked)
    return 0
  },
})

/** Versions as JSON tells them. */
export function policyReports(policies: readonly StoredPolicy[], checked: boolean) {
  const expressions = new Expressions()
  return policies.map(({ version, definition, active, createdAt, retiredAt }) => {
    return { ...definition, version, active, held: heldText(definition, expressions, checked), createdAt, retiredAt }
  })
}

function show(terminal: Terminal, tenant: string, policies: readonly StoredPolicy[], checked: boolean): void {
  if (policies.length === 0) {
    terminal.out(`Tenant ${tenant} has no policies: each verdict is NOT_APPLICABLE, which is not “allowed”.`)
    return
  }
  const columns = [
    { head: 'POLICY' },
    { head: 'VERSION', align: 'right' },
    { head: 'RULE', flexible: true },
    { head: 'AGENT', flexible: true, optional: true },
    { head: 'EFFECT' },
    { head: 'ON CHANGE', optional: true },
    { head: 'HELD' },
    { head: 'AGE', align: 'right', optional: true },
  ] as const
  const now = Date.now()
  const expressions = new Expressions()
  const rows = policies.map(({ name, version, definition, createdAt }) => {
    const { agent, effect, onChange } = definition
    const held = heldText(definition, expressions, checked)
    const heldStyle = HELD_STYLES[held]
    const since = age(now - createdAt.getTime())
    const rule = ruleText(definition)
    return [name, String(version), rule, agent ?? '', effect, onChange, terminal.style(heldStyle, held), since]
  })
  for (const line of tableLines(terminal, columns, rows)) terminal.out(line)
  sayWhatIsNotHeld(
    terminal,
    policies.map(({ definition }) => definition),
    checked,
  )
}
