import { Option } from 'commander'
import { type Approval, ApprovalState } from '../../domains/approvals/approvals.ts'
import { defineCommand, integer } from './command.ts'
import { age, duration } from './format.ts'
import { toJson } from './json.ts'
import { withSession } from './session.ts'
import { tableLines } from './table.ts'
import { printable, type Terminal } from './terminal.ts'

export const approvalsList = defineCommand<{ state?: ApprovalState; limit?: number }>({
  usage: 'list',
  description: 'approvals, the newest first: those that are pending unless --state says otherwise',
  options: [
    new Option('--state <state>', 'those in this state, or all').choices([...Object.keys(ApprovalState), 'all']),
    new Option('--limit <n>', 'at most so many; default 50').argParser(integer(1, 1_000)),
  ],
  run: async (context) => {
    const { terminal, options } = context
    const { tenant: tenantId, state = 'pending', limit, json } = options
    const filter = { tenantId, limit, ...((state as string) !== 'all' && { state }) }
    const approvals = await withSession(context, (concordat) => concordat.approvals.list(filter))
    if (json) terminal.out(toJson({ approvals }))
    else show(terminal, approvals, state)
    return 0
  },
})

function show(terminal: Terminal, approvals: readonly Approval[], state: string): void {
  if (approvals.length === 0) {
    terminal.out(state === 'pending' ? 'Nobody is asked to approve anything.' : 'There are no such approvals.')
    return
  }
  const columns = [
    { head: 'APPROVAL' },
    { head: 'STATE' },
    { head: 'AGENT', flexible: true },
    { head: 'STEP', flexible: true },
    { head: 'MESSAGE', flexible: true },
    { head: 'APPROVERS', optional: true },
    { head: 'TENANT', optional: true },
    { head: 'AGE', align: 'right' },
    { head: 'EXPIRES', align: 'right', optional: true },
  ] as const
  const now = Date.now()
  const rows = approvals.map(({ approvalId, agent, stepKey, message, approvers, tenantId, requestedAt, ...rest }) => {
    const asked = [printable(agent), printable(stepKey), printable(message)]
    const since = age(now - requestedAt.getTime())
    return [
      approvalId,
      styled(terminal, rest.state),
      ...asked,
      approvers.join(' '),
      printable(tenantId),
      since,
      left(rest, now),
    ]
  })
  for (const line of tableLines(terminal, columns, rows)) terminal.out(line)
}

function styled({ style }: Terminal, state: ApprovalState): string {
  if (state === 'pending') return style('yellow', state)
  return state === 'approved' || state === 'consumed' ? style('green', state) : style('dim', state)
}

function left({ state, expiresAt }: Pick<Approval, 'state' | 'expiresAt'>, now: number): string {
  if (state !== 'pending') return ''
  return expiresAt === null ? 'never' : `in ${duration(Math.max(0, expiresAt.getTime() - now))}`
}
