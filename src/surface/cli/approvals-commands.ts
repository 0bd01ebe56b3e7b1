import { approvalsDecide } from './approvals-decide.ts'
import { approvalsGet } from './approvals-get.ts'
import { approvalsList } from './approvals-list.ts'
import { defineNoun } from './command.ts'
import { COMMANDS } from './command-list.ts'

export const approvalsCommands = defineNoun(COMMANDS.approvals, [approvalsList, approvalsGet, approvalsDecide])
