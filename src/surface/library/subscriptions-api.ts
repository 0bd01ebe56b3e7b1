import {
  deleteSubscription,
  insertSubscription,
  type ListedSubscription,
  listSubscriptions,
  newSecret,
  parseSubscription,
  rotateSecret,
  type Subscription,
  type SubscriptionInput,
  setSubscriptionState,
} from '../../domains/deliveries/deliveries.ts'
import { listTenants } from '../../domains/tenants/tenants.ts'
import { AppError } from '../../foundation/app-error.ts'
import { sleep } from '../../foundation/backoff.ts'
import { refusePrivateAddress } from '../../foundation/http/http.ts'
import { type IdSource, isId } from '../../foundation/ids.ts'
import { safeText } from '../../foundation/payload-codec.ts'
import type { Database } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'

/** A subscription with its secret, which is shown this once. */
export interface SubscriptionWithSecret extends Subscription {
  readonly secret: string
}

/**
 * Subscriptions to events, as programs use them. A `tenantId` that is left out means any tenant, for operators. All but
 * `create` and `list` fail with `SUBSCRIPTION_NOT_FOUND`.
 */
export interface SubscriptionsApi {
  /**
   * Has a tenant's events sent to a URL, signed as Standard Webhooks: all that happen after this has returned, a second
   * later. Fails with `INVALID_REQUEST`, `UNKNOWN_TENANT` and `HTTP_BLOCKED_ADDRESS`.
   *
   * @example await concordat.subscriptions.create({ types: ['run.completed'], url: 'https://example.com/hook' })
   */
  create(subscription: SubscriptionInput): Promise<SubscriptionWithSecret>
  list(tenantId?: string): Promise<ListedSubscription[]>
  /** Makes a new secret. For a day, or `overlapMs`, messages are signed with the old one too. */
  rotateSecret(
    subscriptionId: string,
    options?: { readonly tenantId?: string; readonly overlapMs?: number },
  ): Promise<SubscriptionWithSecret>
  disable(
    subscriptionId: string,
    options?: { readonly tenantId?: string; readonly because?: string },
  ): Promise<Subscription>
  /** What happened while it was disabled is not sent later. */
  enable(subscriptionId: string, options?: { readonly tenantId?: string }): Promise<Subscription>
  delete(subscriptionId: string, options?: { readonly tenantId?: string }): Promise<void>
}

export interface SubscriptionsApiParts {
  readonly database: Database
  readonly newId: IdSource
  readonly allowedPrivateHosts: readonly string[]
}

const OVERLAP_MS_MAX = 30 * 86_400_000
const REASON_CHARS_MAX = 1_000
/** Until then every reactor has looked at the subscriptions again. */
const KNOWN_EVERYWHERE_MS = limits.subscriptionsKnownMs + 50

export function createSubscriptionsApi({
  database,
  newId,
  allowedPrivateHosts,
}: SubscriptionsApiParts): SubscriptionsApi {
  const ref = (subscriptionId: string, tenantId: string | undefined) => {
    if (!isId(subscriptionId)) throw notFound(subscriptionId)
    return { subscriptionId, tenantId: tenantId ?? null }
  }
  return {
    async create(request) {
      const { tenantId, types, url, secret = newSecret() } = parseSubscription(request)
      refusePrivateAddress(new URL(url), allowedPrivateHosts)
      const created = await insertSubscription(database, { subscriptionId: newId(), tenantId, types, url, secret })
      if (!created) throw await refusal(database, tenantId)
      await sleep(KNOWN_EVERYWHERE_MS)
      return { ...created, secret }
    },
    list: (tenantId) => listSubscriptions(database, tenantId ?? null),
    async rotateSecret(subscriptionId, { tenantId, overlapMs = limits.secretOverlapMs } = {}) {
      const secret = newSecret()
      const boundedMs = Math.min(Math.max(0, Math.floor(overlapMs)), OVERLAP_MS_MAX)
      const rotated = await rotateSecret(database, ref(subscriptionId, tenantId), secret, boundedMs)
      if (!rotated) throw notFound(subscriptionId)
      return { ...rotated, secret }
    },
    async disable(subscriptionId, { tenantId, because = 'disabled by a person' } = {}) {
      const reason = safeText(because, REASON_CHARS_MAX)
      return (await setSubscriptionState(database, ref(subscriptionId, tenantId), reason)) ?? fail(subscriptionId)
    },
    async enable(subscriptionId, { tenantId } = {}) {
      return (await setSubscriptionState(database, ref(subscriptionId, tenantId), null)) ?? fail(subscriptionId)
    },
    async delete(subscriptionId, { tenantId } = {}) {
      if (!(await deleteSubscription(database, ref(subscriptionId, tenantId)))) throw notFound(subscriptionId)
    },
  }
}

async function refusal(database: Database, tenantId: string): Promise<AppError> {
  const isKnown = (await listTenants(database)).some((tenant) => tenant.tenantId === tenantId)
  if (!isKnown) return new AppError('UNKNOWN_TENANT', `there is no tenant ${JSON.stringify(tenantId)}`)
  const max = limits.subscriptionsPerTenantMax
  return new AppError('INVALID_REQUEST', `tenant ${tenantId} has ${max} subscriptions, and may have no more`, {
    hint: 'Delete one that is not needed: concordat subscriptions list',
  })
}

function notFound(subscriptionId: string): AppError {
  return new AppError('SUBSCRIPTION_NOT_FOUND', `there is no subscription ${JSON.stringify(subscriptionId)}`)
}

function fail(subscriptionId: string): never {
  throw notFound(subscriptionId)
}
