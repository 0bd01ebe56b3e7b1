import { userInfo } from 'node:os'
import { Option } from 'commander'
import { defineCommand } from './command.ts'
import type { ExitCode } from './errors.ts'
import { toJson } from './json.ts'
import { withSession } from './session.ts'

export const alertsAck = defineCommand<{ by?: string }>({
  usage: 'ack <alert>',
  description: 'note that somebody looks after an alert; it stays until its cause is gone',
  options: [new Option('--by <name>', 'who; default your login')],
  run: async (context) => {
    const { terminal, options, args } = context
    return withSession(context, async (concordat): Promise<ExitCode> => {
      const by = options.by ?? userInfo().username
      const alert = await concordat.alerts.ack((args[0] ?? '').toLowerCase(), by, options.tenant)
      if (options.json) terminal.out(toJson(alert))
      else terminal.out(`Alert ${alert.alertId} is acknowledged by ${by}: ${alert.type} of run ${alert.runId}.`)
      return 0
    })
  },
})
