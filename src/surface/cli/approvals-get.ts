import type { ApprovalReport } from '../library/library.ts'
import { defineCommand } from './command.ts'
import { timestamp } from './format.ts'
import { toJson } from './json.ts'
import { withSession } from './session.ts'
import { printable } from './terminal.ts'

const ACTION_CHARS_MAX = 4_000

export const approvalsGet = defineCommand({
  usage: 'get <approval>',
  description: 'what exactly is asked, and who decided',
  run: async (context) => {
    const { terminal, options, args } = context
    const id = (args[0] ?? '').toLowerCase()
    const approval = await withSession(context, (concordat) => concordat.approvals.get(options.tenant ?? null, id))
    if (options.json) terminal.out(toJson(approval))
    else {
      for (const [label, text] of approvalRows(approval)) {
        if (text !== null) terminal.out(`${terminal.style('dim', label.padEnd(9))}  ${text}`)
      }
    }
    return 0
  },
})

function approvalRows(approval: ApprovalReport): [string, string | null][] {
  const { approvalId, state, message, agent, stepKey, runId, tenantId, approvers, policy, digest } = approval
  const { requestedAt, expiresAt, decidedAt, decidedBy, decidedAs, note, consumedAt, action } = approval
  return [
    ['approval', `${approvalId}  ${state}`],
    ['message', printable(message)],
    ['step', `${printable(stepKey)} of ${printable(agent)}, run ${runId}`],
    ['tenant', printable(tenantId)],
    ['policy', policy === null ? null : printable(policy)],
    ['approvers', [...new Set([...approvers, 'OPERATOR'])].join(', ')],
    ['asked', timestamp(requestedAt)],
    ['expires', expiresAt === null ? 'never' : timestamp(expiresAt)],
    ['decided', decidedAt && `${timestamp(decidedAt)} by ${printable(decidedBy ?? '')} as ${decidedAs}`],
    ['note', note === null ? null : printable(note)],
    ['used', consumedAt && timestamp(consumedAt)],
    ['action', printable(JSON.stringify(action), ACTION_CHARS_MAX)],
    ['digest', digest],
    ['decide', state === 'pending' ? `concordat approvals decide ${approvalId} approve|reject` : null],
  ]
}
