import { alertsAck } from './alerts-ack.ts'
import { alertsList } from './alerts-list.ts'
import { alertsSilence } from './alerts-silence.ts'
import { defineNoun } from './command.ts'
import { COMMANDS } from './command-list.ts'

export const alertsCommands = defineNoun(COMMANDS.alerts, [alertsList, alertsAck, alertsSilence])
