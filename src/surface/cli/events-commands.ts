import { defineNoun } from './command.ts'
import { COMMANDS } from './command-list.ts'
import { eventsRedrive } from './events-redrive.ts'
import { eventsTail } from './events-tail.ts'

export const eventsCommands = defineNoun(COMMANDS.events, [eventsTail, eventsRedrive])
