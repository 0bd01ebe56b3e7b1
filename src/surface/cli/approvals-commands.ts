import { approvalsDecide } from './approvals-decide.ts'
import { approvalsGet } from './approvals-get.ts'
import { approvalsList } from './approvals-list.ts'
import { defineNoun } from './command.ts'

export const approvalsCommands = defineNoun('approvals', 'what people are asked before a step runs', [
  approvalsList,
  approvalsGet,
  approvalsDecide,
])
