import { userInfo } from 'node:os'
import { Option } from 'commander'
import { AuditAlertType } from '../../domains/alerts/alerts.ts'
import { defineCommand, instant } from './command.ts'
import type { ExitCode } from './errors.ts'
import { toJson } from './json.ts'
import { withSession } from './session.ts'
import { silenceText } from './silence-text.ts'

interface SilenceOptions {
  readonly until: Date
  readonly type?: AuditAlertType
  readonly run?: string
  readonly by?: string
}

export const alertsSilence = defineCommand<SilenceOptions>({
  usage: 'silence',
  description:
    'send no notification of alerts until a time: of a tenant, a type, a run, or of all; they are stored all the same',
  options: [
    new Option('--until <time>', 'its end, in ISO 8601').argParser(instant).makeOptionMandatory(),
    new Option('--type <type>', 'of this type only').choices(Object.keys(AuditAlertType)),
    new Option('--run <run>', 'of this run only'),
    new Option('--by <name>', 'who; default your login'),
  ],
  run: async (context) => {
    const { terminal, options } = context
    const { until, type = null, run: runId = null, tenant: tenantId = null, json } = options
    return withSession(context, async (concordat): Promise<ExitCode> => {
      const by = options.by ?? userInfo().username
      const silence = await concordat.alerts.silence({ tenantId, runId, type, until, by })
      if (json) terminal.out(toJson(silence))
      else terminal.out(`Now ${silenceText(silence)}. Alerts are stored all the same.`)
      return 0
    })
  },
})
