import { Option } from 'commander'
import type { PolicyChange } from '../../domains/policies/policies.ts'
import { defineCommand } from './command.ts'
import { plural } from './format.ts'
import { toJson } from './json.ts'
import { readPolicies } from './policy-source.ts'
import { ruleText, sayWhatIsNotHeld } from './policy-text.ts'
import { withSession } from './session.ts'
import { tableLines } from './table.ts'
import type { Style, Terminal } from './terminal.ts'

interface ApplyOptions {
  readonly prune?: true
}

const STYLES: { readonly [Change in PolicyChange['change']]: Style } = {
  created: 'green',
  changed: 'yellow',
  unchanged: 'dim',
  removed: 'red',
}

export const policiesApply = defineCommand<ApplyOptions>({
  usage: 'apply <file>',
  description: 'puts the policies of a file in force, all or none; what is unchanged keeps its version',
  options: [new Option('--prune', 'remove what is in force and not in the file')],
  run: async (context) => {
    const { terminal, options, args } = context
    const { tenant = 'default', json = false, prune = false } = options
    const policies = await readPolicies(terminal, args[0] ?? '', json)
    const { changes, checked } = await withSession(context, async (concordat) => ({
      changes: await concordat.policies.apply(tenant, policies, { prune }),
      checked: concordat.config.midExecutionPolicyCheckEnabled,
    }))
    if (json) {
      const told = changes.map(({ definition, ...change }) => change)
      terminal.out(toJson({ tenant, changes: told }))
    } else {
      showChanges(terminal, tenant, changes)
      sayWhatIsNotHeld(terminal, policies, checked)
    }
    return 0
  },
})

function showChanges(terminal: Terminal, tenant: string, changes: readonly PolicyChange[]): void {
  const columns = [
    { head: 'CHANGE' },
    { head: 'POLICY', flexible: true },
    { head: 'VERSION', align: 'right' },
    { head: 'BEFORE', align: 'right', optional: true },
    { head: 'RULE', flexible: true, optional: true },
  ] as const
  const rows = changes.map(({ name, change, version, previousVersion, definition }) => {
    const before = change === 'changed' ? String(previousVersion) : ''
    return [terminal.style(STYLES[change], change), name, String(version), before, ruleText(definition)]
  })
  if (rows.length > 0) for (const line of tableLines(terminal, columns, rows)) terminal.out(line)
  const kinds = Object.keys(STYLES) as PolicyChange['change'][]
  const counts = kinds.map((kind) => [kind, changes.filter(({ change }) => change === kind).length] as const)
  const told = counts.filter(([, n]) => n > 0).map(([kind, n]) => `${n} ${kind}`)
  const applied = changes.filter(({ change }) => change !== 'removed').length
  terminal.out(
    `Tenant ${tenant}: ${plural(applied, 'policy', 'policies')}${told.length > 0 ? `, ${told.join(', ')}` : ''}`,
  )
}
