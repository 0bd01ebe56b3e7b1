import { userInfo } from 'node:os'
import { Option } from 'commander'
import type { SentSignal } from '../library/library.ts'
import { defineCommand } from './command.ts'
import type { ExitCode } from './errors.ts'
import { namedRun } from './find-run.ts'
import { toJson } from './json.ts'
import { jsonOption } from './read-json.ts'
import { withSession } from './session.ts'
import { printable } from './terminal.ts'

export const runsSignal = defineCommand<{ data?: string; by?: string; id?: string }>({
  usage: 'signal <run> <name>',
  description: 'send a signal to a run: to the step that waits for it, else it is kept for the one that will',
  options: [
    new Option('--data <json>', 'what the step gets: JSON, @file, or - for standard input; default null'),
    new Option('--by <name>', 'who sends it; kept with the signal; default your login'),
    new Option('--id <id>', 'your id for it: sent again under the same id it counts once'),
  ],
  run: async (context) => {
    const { terminal, options, args } = context
    const { json, data, by = userInfo().username, id } = options
    const payload = data === undefined ? null : await jsonOption('--data', data)
    return withSession(context, async (concordat): Promise<ExitCode> => {
      const { runId, tenantId } = await namedRun(concordat, context)
      const sent = await concordat.runs.signal(tenantId, runId, args[1] ?? '', payload, { by, ...(id && { id }) })
      terminal.out(json ? toJson({ tenantId, ...sent }) : sentText(sent))
      return 0
    })
  },
})

function sentText({ runId, name, state, deduplicated }: SentSignal): string {
  const signal = `signal ${JSON.stringify(printable(name))}`
  const before = deduplicated ? ' It had been sent before.' : ''
  switch (state) {
    case 'delivered':
      return `Run ${runId} has ${signal} and goes on.${before}`
    case 'kept':
      return `No step of run ${runId} waits for ${signal} yet: it is kept.${before}`
    case 'refused':
      return `Run ${runId} refused ${signal}: it did not fit what a step waits for.${before}`
  }
}
