import { defineCommand } from './command.ts'
import { timestamp, UNKNOWN } from './format.ts'
import { toJson } from './json.ts'
import { policyReports } from './policies-list.ts'
import { ruleText } from './policy-text.ts'
import { withSession } from './session.ts'
import { tableLines } from './table.ts'

export const policiesGet = defineCommand({
  usage: 'get <name>',
  description: 'all versions of a policy, the newest first',
  run: async (context) => {
    const { terminal, options, args } = context
    const { tenant = 'default', json } = options
    const name = args[0] ?? ''
    const { versions, checked } = await withSession(context, async (concordat) => ({
      versions: await concordat.policies.get(tenant, name),
      checked: concordat.config.midExecutionPolicyCheckEnabled,
    }))
    if (json) {
      terminal.out(toJson({ tenant, name, versions: policyReports(versions, checked) }))
      return 0
    }
    const columns = [
      { head: 'VERSION', align: 'right' },
      { head: 'IN FORCE SINCE' },
      { head: 'UNTIL' },
      { head: 'RULE', flexible: true },
      { head: 'AGENT', flexible: true, optional: true },
      { head: 'EFFECT' },
      { head: 'ON CHANGE', optional: true },
    ] as const
    const rows = versions.map(({ version, createdAt, retiredAt, definition }) => {
      const until = retiredAt === null ? terminal.style('green', 'now') : timestamp(retiredAt)
      const since = definition.enabled ? timestamp(createdAt) : `${UNKNOWN} disabled`
      const { agent, effect, onChange } = definition
      return [String(version), since, until, ruleText(definition), agent ?? '', effect, onChange]
    })
    for (const line of tableLines(terminal, columns, rows)) terminal.out(line)
    return 0
  },
})
