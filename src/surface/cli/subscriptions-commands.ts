import { defineNoun } from './command.ts'
import { COMMANDS } from './command-list.ts'
import { subscriptionsChange } from './subscriptions-change.ts'
import { subscriptionsCreate } from './subscriptions-create.ts'
import { subscriptionsList } from './subscriptions-list.ts'

export const subscriptionsCommands = defineNoun(COMMANDS.subscriptions, [
  subscriptionsCreate,
  subscriptionsList,
  ...subscriptionsChange,
])
