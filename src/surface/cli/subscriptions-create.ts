import { Option } from 'commander'
import { defineCommand } from './command.ts'
import type { ExitCode } from './errors.ts'
import { toJson } from './json.ts'
import { withSession } from './session.ts'

export const subscriptionsCreate = defineCommand<{ url: string; types: string }>({
  usage: 'create',
  description: 'send a tenant’s events to a URL, signed; prints the secret, once',
  options: [
    new Option('--url <url>', 'where to').makeOptionMandatory(),
    new Option('--types <list>', 'event types with commas between them: run.completed, run.*, *').default(
      'run.completed,run.failed',
    ),
  ],
  run: async (context) => {
    const { terminal, options } = context
    const { url, tenant, json } = options
    const types = options.types.split(',').map((type) => type.trim())
    return withSession(context, async (concordat): Promise<ExitCode> => {
      const created = await concordat.subscriptions.create({
        url,
        types,
        ...(tenant !== undefined && { tenantId: tenant }),
      })
      if (json) terminal.out(toJson(created))
      else {
        terminal.out(
          `Subscription ${created.subscriptionId}: ${types.join(', ')} of tenant ${created.tenantId} to ${url}`,
        )
        terminal.out(`Secret, shown this once: ${created.secret}`)
      }
      return 0
    })
  },
})
