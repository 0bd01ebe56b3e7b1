import { Option } from 'commander'
import type { Concordat } from '../../runtime.ts'
import { type AddCommand, defineCommand, integer } from './command.ts'
import type { ExitCode } from './errors.ts'
import { toJson } from './json.ts'
import { withSession } from './session.ts'

const HOUR_MS = 3_600_000

const rotate = defineCommand<{ overlapHours: number }>({
  usage: 'rotate <subscription>',
  description: 'make a new secret; for a while the old one signs too',
  options: [new Option('--overlap-hours <n>', 'how long').argParser(integer(0, 720)).default(24)],
  run: async (context) => {
    const { terminal, options, args } = context
    return withSession(context, async ({ subscriptions }): Promise<ExitCode> => {
      const overlap = { overlapMs: options.overlapHours * HOUR_MS, ...tenantOf(options) }
      const rotated = await subscriptions.rotateSecret(args[0] ?? '', overlap)
      if (options.json) terminal.out(toJson(rotated))
      else {
        terminal.out(`Secret, shown this once: ${rotated.secret}`)
        const until = rotated.previousSecretUntil
        if (until) terminal.out(`The old one signs too until ${until.toISOString()}.`)
      }
      return 0
    })
  },
})

type Change = (
  subscriptions: Concordat['subscriptions'],
  id: string,
  options: { tenantId?: string },
) => Promise<unknown>

/** A verb that changes one subscription and has nothing to tell but that it did. */
function change(verb: string, done: string, description: string, act: Change): AddCommand {
  return defineCommand({
    usage: `${verb} <subscription>`,
    description,
    run: async (context) => {
      const { terminal, options, args } = context
      const subscriptionId = args[0] ?? ''
      return withSession(context, async ({ subscriptions }): Promise<ExitCode> => {
        await act(subscriptions, subscriptionId, tenantOf(options))
        terminal.out(options.json ? toJson({ subscriptionId, done }) : `Subscription ${subscriptionId} is ${done}.`)
        return 0
      })
    },
  })
}

function tenantOf({ tenant }: { readonly tenant?: string }): { tenantId?: string } {
  return tenant === undefined ? {} : { tenantId: tenant }
}

export const subscriptionsChange: readonly AddCommand[] = [
  rotate,
  change('disable', 'disabled', 'send it nothing more', (api, id, options) => api.disable(id, options)),
  change('enable', 'enabled', 'send it events again, from now on', (api, id, options) => api.enable(id, options)),
  change('delete', 'deleted', 'delete it, with what waits to be sent to it', (api, id, options) =>
    api.delete(id, options),
  ),
]
