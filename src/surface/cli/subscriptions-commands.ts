import { defineNoun } from './command.ts'
import { subscriptionsChange } from './subscriptions-change.ts'
import { subscriptionsCreate } from './subscriptions-create.ts'
import { subscriptionsList } from './subscriptions-list.ts'

export const subscriptionsCommands = defineNoun('subscriptions', 'events that are sent to URLs', [
  subscriptionsCreate,
  subscriptionsList,
  ...subscriptionsChange,
])
