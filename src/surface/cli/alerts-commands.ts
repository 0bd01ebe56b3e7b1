import { alertsAck } from './alerts-ack.ts'
import { alertsList } from './alerts-list.ts'
import { alertsSilence } from './alerts-silence.ts'
import { defineNoun } from './command.ts'

export const alertsCommands = defineNoun('alerts', 'what is wrong with runs', [alertsList, alertsAck, alertsSilence])
