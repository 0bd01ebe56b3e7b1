import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import { limits } from '../../limits.ts'
import type { ListedSubscription, Subscription } from './subscription.ts'

const COLUMNS = `subscription_id as "subscriptionId", tenant_id as "tenantId", types, url, state,
  disabled_because as "disabledBecause", failing_since as "failingSince",
  case when previous_secret_until > clock_timestamp() then previous_secret_until end as "previousSecretUntil",
  created_at as "createdAt"`

export interface NewSubscription {
  readonly subscriptionId: string
  readonly tenantId: string
  readonly types: readonly string[]
  readonly url: string
  readonly secret: string
}

const INSERT = statement(
  'subscriptions_insert',
  `insert into concordat.subscriptions (tenant_id, subscription_id, types, url, secret)
   select t.tenant_id, $2, $3, $4, $5 from concordat.tenants t
    where t.tenant_id = $1
      and (select count(*) from concordat.subscriptions s where s.tenant_id = $1) < ${limits.subscriptionsPerTenantMax}
   returning ${COLUMNS}`,
)

/** Null: there is no such tenant, or it has as many as it may. */
export async function insertSubscription(tx: Tx, subscription: NewSubscription): Promise<Subscription | null> {
  const { tenantId, subscriptionId, types, url, secret } = subscription
  const [row] = await tx.query<Subscription>(INSERT, [tenantId, subscriptionId, types, url, secret])
  return row ?? null
}

/** A tenant's subscriptions, or those of all tenants, the oldest first. */
export async function listSubscriptions(tx: Tx, tenantId: string | null): Promise<ListedSubscription[]> {
  return tx.query<ListedSubscription>(
    `select ${COLUMNS}, case when failing_since is not null then (
              select d.last_error from concordat.deliveries d
               where d.target = 'subscription/' || subscription_id and d.state = 'pending' and d.last_error is not null
               order by d.due_at desc limit 1) end as "lastError"
       from concordat.subscriptions where ($1::text is null or tenant_id = $1)
      order by tenant_id, subscription_id`,
    [tenantId],
  )
}

/** A subscription's id, and its tenant unless any may be meant. */
export interface SubscriptionRef {
  readonly subscriptionId: string
  readonly tenantId: string | null
}

const WHICH = `subscription_id = $1 and ($2::text is null or tenant_id = $2)`

const ROTATE = statement(
  'subscriptions_rotate',
  `update concordat.subscriptions
      set previous_secret = secret, previous_secret_until = clock_timestamp() + $4::bigint * interval '1 ms', secret = $3
    where ${WHICH} returning ${COLUMNS}`,
)

/** The new secret signs from now on; the one before does so too for a while. Null: there is no such subscription. */
export async function rotateSecret(
  tx: Tx,
  { subscriptionId, tenantId }: SubscriptionRef,
  secret: string,
  overlapMs: number,
): Promise<Subscription | null> {
  const [row] = await tx.query<Subscription>(ROTATE, [subscriptionId, tenantId, secret, overlapMs])
  return row ?? null
}

const SET_STATE = statement(
  'subscriptions_set_state',
  `update concordat.subscriptions
      set state = $3, disabled_because = $4, failing_since = case when $3 = 'disabled' then failing_since end
    where ${WHICH} returning ${COLUMNS}`,
)

/** Disables it, saying why, or enables it again (`because` null). Null: there is no such subscription. */
export async function setSubscriptionState(
  tx: Tx,
  { subscriptionId, tenantId }: SubscriptionRef,
  because: string | null,
): Promise<Subscription | null> {
  const state = because === null ? 'enabled' : 'disabled'
  const [row] = await tx.query<Subscription>(SET_STATE, [subscriptionId, tenantId, state, because])
  return row ?? null
}

/** Deletes it with what waits to be delivered to it. False: there is no such subscription. */
export async function deleteSubscription(tx: Tx, { subscriptionId, tenantId }: SubscriptionRef): Promise<boolean> {
  const rows = await tx.query(
    `with gone as (delete from concordat.subscriptions where ${WHICH} returning subscription_id)
     , waiting as (delete from concordat.deliveries d using gone
                    where d.target = 'subscription/' || gone.subscription_id and d.state = 'pending')
     select from gone`,
    [subscriptionId, tenantId],
  )
  return rows.length > 0
}

export interface Subscriber {
  readonly subscriptionId: string
  readonly tenantId: string
  readonly types: readonly string[]
  readonly createdAt: Date
}

const ENABLED = statement(
  'subscriptions_enabled',
  `select subscription_id as "subscriptionId", tenant_id as "tenantId", types, created_at as "createdAt"
     from concordat.subscriptions where state = 'enabled'`,
)

/** Who is to be told of events. */
export async function subscribersOf(tx: Tx): Promise<Subscriber[]> {
  return tx.query<Subscriber>(ENABLED)
}

/** Where a subscription's events go, and what signs them; for whoever sends them, and nobody else. */
export interface Endpoint {
  readonly subscriptionId: string
  readonly url: string
  readonly state: Subscription['state']
  readonly secrets: readonly string[]
}

const IDS = rowSet<string>({ subscription_id: ['uuid', (id) => id] })
const ENDPOINTS = statement(
  'subscriptions_endpoints',
  `select s.subscription_id as "subscriptionId", s.url, s.state,
          case when s.previous_secret_until > clock_timestamp() then array[s.secret, s.previous_secret] else array[s.secret] end as secrets
     from ${IDS.from(1)} as x join concordat.subscriptions s using (subscription_id)`,
)

export async function endpointsOf(tx: Tx, subscriptionIds: readonly string[]): Promise<Endpoint[]> {
  return subscriptionIds.length === 0 ? [] : tx.query<Endpoint>(ENDPOINTS, IDS.values(subscriptionIds))
}

const WORKED = statement(
  'subscriptions_worked',
  `update concordat.subscriptions set failing_since = null where subscription_id = $1 and failing_since is not null`,
)

export async function noteSuccess(tx: Tx, subscriptionId: string): Promise<void> {
  await tx.query(WORKED, [subscriptionId])
}

const FAILED = statement(
  'subscriptions_failed',
  `update concordat.subscriptions
      set failing_since = coalesce(failing_since, clock_timestamp()),
          state = case when failing_since < clock_timestamp() - $2::bigint * interval '1 ms' or $3 then 'disabled' else state end,
          disabled_because = case when failing_since < clock_timestamp() - $2::bigint * interval '1 ms' or $3 then $4 end
    where subscription_id = $1 and state = 'enabled'
   returning ${COLUMNS}`,
)

/** What a failed delivery says about its endpoint. */
export interface EndpointFailure {
  readonly subscriptionId: string
  readonly disableAfterMs: number
  /** The endpoint says itself that it is gone. */
  readonly gone: boolean
  readonly because: string
}

/** Notes that it fails. Returns the subscription if it is disabled for that now: it has failed for too long, or is gone. */
export async function noteFailure(tx: Tx, failure: EndpointFailure): Promise<Subscription | null> {
  const { subscriptionId, disableAfterMs, gone, because } = failure
  const [row] = await tx.query<Subscription>(FAILED, [subscriptionId, disableAfterMs, gone, because])
  return row?.state === 'disabled' ? row : null
}
