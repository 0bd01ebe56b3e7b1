import { z } from 'zod'
import { AppError } from '../../foundation/app-error.ts'
import { meansNothing, typeMatcher } from '../../foundation/events/events.ts'
import { issuesText } from '../../foundation/schema-issues.ts'
import { limits } from '../../limits.ts'
import { isSecret } from './signature.ts'

/** A tenant's wish to be told of events at a URL. Its secret is never in it. */
export interface Subscription {
  readonly subscriptionId: string
  readonly tenantId: string
  /** Exact types, prefixes as in `run.*`, or `*`. */
  readonly types: readonly string[]
  readonly url: string
  readonly state: 'enabled' | 'disabled'
  /** Why it is disabled; null while it is enabled. */
  readonly disabledBecause: string | null
  /** Since when no delivery has succeeded; null while the last one did. */
  readonly failingSince: Date | null
  /** Until when the secret before the last rotation signs too. */
  readonly previousSecretUntil: Date | null
  readonly createdAt: Date
}

export interface ListedSubscription extends Subscription {
  /** Why a delivery that waits to be tried again has not arrived; null while none fails. */
  readonly lastError: string | null
}

const input = z.strictObject({
  tenantId: z.string().min(1).max(200).default('default'),
  types: z
    .array(
      z.string().refine((type) => meansNothing(type) === null, {
        error: ({ input: type }) => meansNothing(String(type)) ?? '',
      }),
    )
    .min(1)
    .max(limits.subscriptionTypesMax),
  url: z
    .string()
    .max(limits.subscriptionUrlCharsMax)
    .refine(isCallable, 'must be an http or https URL without user name and password'),
  secret: z.string().refine(isSecret, 'must be 24 to 64 bytes in base64, as in whsec_…').optional(),
})
export type SubscriptionInput = z.input<typeof input>

/** Fails with `INVALID_REQUEST`, naming the field. */
export function parseSubscription(request: SubscriptionInput): z.output<typeof input> {
  const parsed = input.safeParse(request)
  if (parsed.success) return parsed.data
  throw new AppError('INVALID_REQUEST', `the subscription is not valid: ${issuesText(parsed.error)}`)
}

/** Whether an event of this type is subscribed to. */
export function matchesType(types: readonly string[], type: string): boolean {
  return types.some((each) => typeMatcher(each)(type))
}

function isCallable(text: string): boolean {
  const url = URL.parse(text)
  return url !== null && /^https?:$/.test(url.protocol) && !url.username && !url.password
}
