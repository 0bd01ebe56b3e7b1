import { defineNoun } from './command.ts'
import { eventsRedrive } from './events-redrive.ts'
import { eventsTail } from './events-tail.ts'

export const eventsCommands = defineNoun('events', 'follow events, and give them to handlers again', [
  eventsTail,
  eventsRedrive,
])
