import { alertsAck } from './alerts-ack.ts'
import { alertsList } from './alerts-list.ts'
import { defineNoun } from './command.ts'

export const alertsCommands = defineNoun('alerts', 'what is wrong with runs', [alertsList, alertsAck])
