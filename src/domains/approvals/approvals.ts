export { type Action, ApprovalState, actionDigest } from './approval-rules.ts'
export {
  type Approval,
  type ApprovalFilter,
  actionOf,
  approvalAt,
  approvalsOfRun,
  cancelApprovals,
  consumeApproval,
  decideApproval,
  expireApprovals,
  expireApproved,
  extendApprovals,
  findApproval,
  insertApproval,
  listApprovals,
  type NewApproval,
  pendingApproval,
} from './approval-store.ts'
