import { hash } from 'node:crypto'
import type { Json } from '../../foundation/json.ts'
import { canonicalJson } from '../../foundation/payload-codec.ts'

/**
 * `pending`: somebody is asked. `approved`: the step may run, once. `consumed`: it was approved, and the step has begun.
 * `cancelled`: the run ended before anybody decided.
 */
export const ApprovalState = Object.freeze({
  pending: 'pending',
  approved: 'approved',
  rejected: 'rejected',
  expired: 'expired',
  cancelled: 'cancelled',
  consumed: 'consumed',
})
export type ApprovalState = keyof typeof ApprovalState

/** The exact action that somebody is asked to approve: the step with its input, of this version of its agent. */
export interface Action {
  readonly agent: string
  readonly version: string
  readonly kind: string
  readonly name: string
  readonly input: Json
  /** What the step says of itself beyond its input; absent where it says nothing. */
  readonly action?: Json
}

/** SHA-256 in hex over the action's canonical JSON (RFC 8785). Another action has another digest. */
export function actionDigest(action: Action): string {
  return hash('sha256', canonicalJson(action as unknown as Json))
}
