import { Option } from 'commander'
import { AppError } from '../../foundation/app-error.ts'
import { type ActingOptions, actingOf, actingOptions } from './acting.ts'
import { defineCommand } from './command.ts'
import { toJson } from './json.ts'
import { withSession } from './session.ts'

const DECISIONS = { approve: 'approved', reject: 'rejected' } as const

export const approvalsDecide = defineCommand<ActingOptions & { note?: string }>({
  usage: 'decide <approval> <approve|reject>',
  description: 'approve or reject what a step asks for; its run goes on with that',
  options: [new Option('--note <text>', 'why; kept with the approval'), ...actingOptions()],
  run: async (context) => {
    const { terminal, options, args } = context
    const [id = '', verb = ''] = args
    if (!Object.hasOwn(DECISIONS, verb)) {
      throw new AppError('INVALID_REQUEST', `approve or reject, not ${JSON.stringify(verb)}`)
    }
    const decision = DECISIONS[verb as keyof typeof DECISIONS]
    const { note, tenant = null, json } = options
    const input = { ...actingOf(options), decision, ...(note !== undefined && { note }) }
    const approval = await withSession(context, (concordat) => {
      return concordat.approvals.decide(tenant, id.toLowerCase(), input)
    })
    if (json) terminal.out(toJson(approval))
    else terminal.out(`Step ${approval.stepKey} of run ${approval.runId} is ${decision}; the run goes on.`)
    return 0
  },
})
