import { Option } from 'commander'
import type { PolicyUsage } from '../library/library.ts'
import { defineCommand, integer } from './command.ts'
import { amount, UNKNOWN } from './format.ts'
import { toJson } from './json.ts'
import { withSession } from './session.ts'
import { tableLines } from './table.ts'
import { printable, type Style, type Terminal } from './terminal.ts'

const BAR_CHARS = 10
const NEAR = 0.8
const FULL = 0.95

export const policiesUsage = defineCommand<{ readonly top?: number }>({
  usage: 'usage',
  description: 'what is used and reserved of each limit, by whom',
  options: [
    new Option('--top <n>', 'of each limit those that use most, 1 to 100; default 10').argParser(integer(1, 100)),
  ],
  run: async (context) => {
    const { terminal, options } = context
    const { tenant = 'default', json, top } = options
    const { usage, checked } = await withSession(context, async (concordat) => ({
      usage: await concordat.policies.usage(tenant, top === undefined ? {} : { top }),
      checked: concordat.config.midExecutionPolicyCheckEnabled,
    }))
    if (json) terminal.out(toJson({ tenant, usage }))
    else show(terminal, tenant, usage)
    if (!checked && usage.length > 0) terminal.err(terminal.styleErr('yellow', NOT_COUNTED))
    return 0
  },
})

const NOT_COUNTED = 'Nothing is counted: MID_EXECUTION_POLICY_CHECK_ENABLED is off'

function show(terminal: Terminal, tenant: string, usage: readonly PolicyUsage[]): void {
  if (usage.length === 0) {
    terminal.out(`Tenant ${tenant} has no limits in force that are budgets.`)
    return
  }
  const columns = [
    { head: 'POLICY', flexible: true },
    { head: 'SCOPE', optional: true },
    { head: 'SUBJECT', flexible: true },
    { head: 'WINDOW' },
    { head: 'METRIC', optional: true },
    { head: 'USED', align: 'right' },
    { head: 'RESERVED', align: 'right' },
    { head: 'LIMIT', align: 'right' },
    { head: '' },
    { head: 'SHARE', align: 'right' },
  ] as const
  const rows = usage.map((each) => {
    const { policy, scope, subject, window, metric, used, reserved, limit } = each
    const amounts = [used, reserved, limit].map((value) => amount(metric, value))
    const whose = subject === null ? UNKNOWN : printable(subject, 200)
    return [policy, scope.replace('_', ' '), whose, window, metric, ...amounts, bar(terminal, each), share(each)]
  })
  for (const line of tableLines(terminal, columns, rows)) terminal.out(line)
}

function share({ share }: PolicyUsage): string {
  return share === null ? UNKNOWN : `${Math.floor(share * 100)} %`
}

/** Used, then reserved, then free. */
function bar({ style }: Terminal, { used, reserved, limit, share }: PolicyUsage): string {
  const chars = (value: number) => (limit === 0 ? BAR_CHARS : Math.round((value / limit) * BAR_CHARS))
  const full = Math.min(BAR_CHARS, chars(used))
  const held = Math.min(BAR_CHARS, chars(used + reserved)) - full
  const color: Style = share === null || share >= FULL ? 'red' : share >= NEAR ? 'yellow' : 'green'
  return style(color, '█'.repeat(full) + '▒'.repeat(held)) + style('dim', '░'.repeat(BAR_CHARS - full - held))
}
