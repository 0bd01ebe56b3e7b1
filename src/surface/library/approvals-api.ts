import {
  type Approval,
  ApprovalState,
  actionOf,
  findApproval,
  listApprovals,
} from '../../domains/approvals/approvals.ts'
import { requireTenant } from '../../domains/tenants/tenants.ts'
import type { DecisionAnswer, RunOrchestrationKernel } from '../../flow/kernel/kernel.ts'
import { AppError } from '../../foundation/app-error.ts'
import { isId } from '../../foundation/ids.ts'
import type { Json } from '../../foundation/json.ts'
import { type PayloadCodec, safeText } from '../../foundation/payload-codec.ts'
import type { Database } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { type Acting, checkActing } from './acting.ts'

export interface ApprovalsFilter {
  /** Of every tenant where it is left out. */
  readonly tenantId?: string | undefined
  /** In every state where it is left out. */
  readonly state?: ApprovalState | undefined
  /** 1 to 1,000; default 50. */
  readonly limit?: number | undefined
}

export interface DecisionInput extends Acting {
  readonly decision: 'approved' | 'rejected'
  /** Why; kept with the approval. */
  readonly note?: string
}

/** What somebody is asked, with the exact action that the answer is for. */
export interface ApprovalReport extends Approval {
  readonly action: Json
}

/** Approvals, as programs use them. `tenantId` null: of any tenant, for operators. */
export interface ApprovalsApi {
  /** The newest first, without their actions. Fails with `INVALID_REQUEST` and `UNKNOWN_TENANT`. */
  list(filter?: ApprovalsFilter): Promise<Approval[]>
  /** Fails with `APPROVAL_NOT_FOUND`. */
  get(tenantId: string | null, approvalId: string): Promise<ApprovalReport>
  /**
   * Decides an approval; its run goes on with that, in the same commit. Of several who decide at the same time one wins.
   * Fails with `APPROVAL_NOT_FOUND`, with `APPROVAL_CLOSED` (and the state) when it is not pending any more, and with
   * `APPROVAL_FORBIDDEN`, which is recorded.
   *
   * @example await concordat.approvals.decide('acme', approvalId, { decision: 'approved', by: 'ada', as: 'TENANT_ADMIN' })
   */
  decide(tenantId: string | null, approvalId: string, input: DecisionInput): Promise<Approval>
}

export interface ApprovalsApiParts {
  readonly database: Database
  readonly kernel: RunOrchestrationKernel
  readonly codec: PayloadCodec
  /** Called when a run became ready to go on. */
  readonly onReady: () => void
}

const LIST_DEFAULT = 50
const LIST_MAX = 1_000

export function createApprovalsApi({ database, kernel, codec, onReady }: ApprovalsApiParts): ApprovalsApi {
  async function known(tenantId: string | null, approvalId: string): Promise<Approval> {
    const approval = isId(approvalId) ? await findApproval(database, tenantId, approvalId) : null
    if (approval) return approval
    throw new AppError('APPROVAL_NOT_FOUND', `there is no approval ${JSON.stringify(approvalId)}`)
  }

  return {
    async list({ tenantId, state, limit = LIST_DEFAULT } = {}) {
      if (state !== undefined && !Object.hasOwn(ApprovalState, state)) {
        const states = Object.keys(ApprovalState).join(', ')
        throw new AppError('INVALID_REQUEST', `an approval is ${states}, not ${JSON.stringify(state)}`)
      }
      if (tenantId !== undefined) await requireTenant(database, tenantId)
      const bounded = Math.min(Math.max(1, limit), LIST_MAX)
      return listApprovals(database, { tenantId: tenantId ?? null, state: state ?? null, limit: bounded })
    },

    async get(tenantId, approvalId) {
      const approval = await known(tenantId, approvalId)
      const action = await actionOf(database, approval)
      return { ...approval, action: action === null ? null : codec.decode(action) }
    },

    async decide(tenantId, approvalId, { decision, note, ...acting }) {
      const { by, as } = checkActing(acting)
      if (decision !== 'approved' && decision !== 'rejected') {
        throw new AppError('INVALID_REQUEST', `an approval is approved or rejected, not ${JSON.stringify(decision)}`)
      }
      await known(tenantId, approvalId)
      const kept = note === undefined ? null : safeText(note, limits.noteCharsMax)
      const answer = await kernel.decideApproval({ tenantId, approvalId, decision, by, as, note: kept })
      if (answer.kind !== 'decided') throw refusal(approvalId, as, answer)
      onReady()
      return known(tenantId, approvalId)
    },
  }
}

function refusal(approvalId: string, as: string, answer: Exclude<DecisionAnswer, { kind: 'decided' }>): AppError {
  switch (answer.kind) {
    case 'not_found':
      return new AppError('APPROVAL_NOT_FOUND', `there is no approval ${JSON.stringify(approvalId)}`)
    case 'forbidden':
      return new AppError('APPROVAL_FORBIDDEN', `approval ${approvalId} stays pending: ${as} may not decide it`, {
        hint: `Ask one of ${answer.may.join(', ')}. The attempt is recorded.`,
        details: { approvalId, decidableBy: [...answer.may] },
      })
    case 'closed': {
      const { approval, state } = answer
      const { decidedBy, decidedAs, decidedAt } = approval
      const who = decidedBy === null ? '' : `; ${decidedBy} decided it as ${decidedAs} at ${decidedAt?.toISOString()}`
      return new AppError('APPROVAL_CLOSED', `approval ${approvalId} is ${state}${who}`, {
        hint: `See it with \`concordat approvals get ${approvalId}\`.`,
        details: { approvalId, runId: approval.runId, state, decidedBy, decidedAs },
      })
    }
  }
}
