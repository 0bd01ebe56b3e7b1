import { Option } from 'commander'
import { defineCommand, instant } from './command.ts'
import type { ExitCode } from './errors.ts'
import { plural } from './format.ts'
import { toJson } from './json.ts'
import { withSession } from './session.ts'

const DAY_MS = 86_400_000

export const auditSweep = defineCommand<{ since?: Date }>({
  usage: 'sweep',
  description:
    'hold all runs that are due against their contracts, and once more those of the last day; exit code 1 if one is not COMPLETE',
  options: [
    new Option('--since <time>', 'once more those submitted since then, in ISO 8601; default a day ago').argParser(
      instant,
    ),
  ],
  run: async (context) => {
    const { terminal, options } = context
    return withSession(context, async (concordat): Promise<ExitCode> => {
      const since = options.since ?? new Date(Date.now() - DAY_MS)
      const { runs, found } = await concordat.audit.sweep({ since })
      if (options.json) terminal.out(toJson({ runs, found, since }))
      else {
        terminal.out(`${plural(runs, 'run')} held against their contracts, ${found} not COMPLETE`)
        if (found > 0) terminal.out('concordat alerts list  shows what was found')
      }
      return found > 0 ? 1 : 0
    })
  },
})
