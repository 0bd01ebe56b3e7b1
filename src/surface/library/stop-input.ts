import type { Authority } from '../../domains/pauses/pauses.ts'
import { listPolicies } from '../../domains/policies/policies.ts'
import type { StopCounts } from '../../domains/runs/runs.ts'
import { requireTenant } from '../../domains/tenants/tenants.ts'
import { type Stopped, untilStopped } from '../../flow/stopping/stopping.ts'
import { AppError } from '../../foundation/app-error.ts'
import { safeText } from '../../foundation/payload-codec.ts'
import type { Database } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import { type Acting, checkPerson } from './acting.ts'

/** Who asks, as what, and why: kept with what it changes, and told in its event. */
export interface StopInput {
  readonly by?: string
  /** `OPERATOR` unless given. */
  readonly as?: Authority
  readonly why?: string
}

interface StopNote extends Acting {
  readonly why: string
}

export interface StopAllInput extends StopInput {
  readonly tenant: string
  /** Only runs of this agent. */
  readonly agent?: string
  /** Only runs that this policy is in scope for: those of its agent, or all where it names none. */
  readonly policy?: string
  /** How long to wait until steps have ended, in milliseconds; 10,000 unless given, 600,000 at the most. */
  readonly waitMs?: number
}

/** How far stops came within the wait. `delivered`, `confirmed` and `unconfirmed` count runs that were executing. */
export interface StopAllResult extends Omit<StopCounts, 'open'> {
  /** Of those requested, runs that nobody executed: they were ended at once. */
  readonly ended: number
}

/** A step that ignores its signal is left behind after 5 s, and its run then ends. */
export const STOP_WAIT_MS = 2 * limits.stopGraceMs

/** Fails with `INVALID_REQUEST`. */
export function noteOf({ by = 'operator', as = 'OPERATOR', why = 'no reason given' }: StopInput = {}): StopNote {
  return { ...checkPerson({ by, as }), why: safeText(why, limits.noteCharsMax) }
}

/**
 * The same of a tenant's suspension, which is not the tenant's own to make or to end. Fails with
 * `SUSPENSION_FORBIDDEN`.
 */
export function suspensionNoteOf(input?: StopInput): StopNote {
  const note = noteOf(input)
  if (note.as === 'OPERATOR') return note
  throw new AppError(
    'SUSPENSION_FORBIDDEN',
    `${note.as} may not suspend a tenant or let it in again, only OPERATOR may`,
  )
}

/** Whose runs are meant; null: every agent's. */
export async function agentOf(
  database: Database,
  tenantId: string,
  agent: string | undefined,
  policy: string | undefined,
): Promise<string | null> {
  await requireTenant(database, tenantId)
  if (policy === undefined) return agent ?? null
  if (agent !== undefined) throw new AppError('INVALID_REQUEST', 'name an agent or a policy, not both')
  const found = (await listPolicies(database, tenantId)).find(({ name }) => name === policy)
  if (found) return found.definition.agent
  throw new AppError('POLICY_NOT_FOUND', `tenant ${tenantId} has no policy ${JSON.stringify(policy.slice(0, 200))}`, {
    details: { tenantId },
  })
}

export async function countStopped(
  database: Database,
  stopped: Stopped | null,
  waitMs: number,
): Promise<StopAllResult> {
  if (stopped === null) return { requested: 0, ended: 0, delivered: 0, confirmed: 0, unconfirmed: 0 }
  const counts = await untilStopped(database, stopped, Math.min(waitMs, limits.stopWaitMsMax))
  const { requested, delivered, confirmed, unconfirmed } = counts
  return { requested, ended: stopped.taken, delivered, confirmed, unconfirmed }
}
