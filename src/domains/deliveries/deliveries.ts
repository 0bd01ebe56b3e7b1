export {
  addDeliveries,
  type ClaimedDelivery,
  claimDeliveries,
  giveUpOrphaned,
  giveUpTarget,
  type NewDelivery,
  pruneDeliveries,
  retryDelivery,
  setHeldBack,
  settleDelivery,
  untakenDeliveries,
} from './delivery-store.ts'
export { isSecret, newSecret, signatureHeaders } from './signature.ts'
export {
  type ListedSubscription,
  matchesType,
  parseSubscription,
  type Subscription,
  type SubscriptionInput,
} from './subscription.ts'
export {
  deleteSubscription,
  type Endpoint,
  endpointsOf,
  insertSubscription,
  listSubscriptions,
  noteFailure,
  noteSuccess,
  rotateSecret,
  type Subscriber,
  type SubscriptionRef,
  setSubscriptionState,
  subscribersOf,
} from './subscription-store.ts'
