import { Option } from 'commander'
import { limits } from '../../limits.ts'
import type { ChangedVerdict, Simulation } from '../library/library.ts'
import { defineCommand, integer } from './command.ts'
import type { ExitCode } from './errors.ts'
import { count, plural } from './format.ts'
import { onInterruption } from './interruption.ts'
import { toJson } from './json.ts'
import { readPolicies } from './policy-source.ts'
import { showProgress } from './progress.ts'
import { withSession } from './session.ts'
import { styledOutcome, styledStatus } from './status-style.ts'
import { tableLines } from './table.ts'
import { printable, type Terminal } from './terminal.ts'

interface SimulateOptions {
  readonly prune?: true
  readonly agent?: string
  readonly limit: number
}

const SHOWN_MAX = 50

export const policiesSimulate = defineCommand<SimulateOptions>({
  usage: 'simulate <file>',
  description: 'which verdicts on ended runs would be others with this file applied; changes nothing',
  options: [
    new Option('--limit <n>', 'how many runs at the most, the newest')
      .argParser(integer(1, limits.simulationRunsMax))
      .default(1_000),
    new Option('--agent <name>', 'only runs of this agent'),
    new Option('--prune', 'as if what is in force and not in the file were removed'),
  ],
  run: async (context) => {
    const { terminal, options, args } = context
    const { tenant = 'default', json = false, agent, limit, prune = false } = options
    const policies = await readPolicies(terminal, args[0] ?? '', json)
    const interruption = onInterruption(terminal, 'Stopping after this page of runs.')
    const progress = { done: 0, total: 0 }
    try {
      return await withSession(context, async (concordat): Promise<ExitCode> => {
        const hideProgress = showProgress(terminal, () => {
          const { done, total } = progress
          return { done, share: total === 0 ? 0 : done / total, text: `${count(done)} of ${plural(total, 'run')}` }
        })
        const simulation = await concordat.policies
          .simulate(tenant, policies, {
            ...(agent !== undefined && { agent }),
            limit,
            prune,
            signal: interruption.signal,
            onProgress: (done, total) => Object.assign(progress, { done, total }),
          })
          .finally(hideProgress)
        if (json) terminal.out(toJson({ tenant, ...simulation }))
        else show(terminal, tenant, simulation)
        return interruption.signal.aborted ? 1 : 0
      })
    } finally {
      interruption.end()
    }
  },
})

function show(terminal: Terminal, tenant: string, { runs, changed }: Simulation): void {
  const columns = [
    { head: 'RUN' },
    { head: 'AGENT', flexible: true },
    { head: 'VERDICT' },
    { head: 'WOULD BE' },
    { head: 'STATUS' },
    { head: 'WOULD BE' },
    { head: 'BROKEN', flexible: true, optional: true },
  ] as const
  const rows = changed.slice(0, SHOWN_MAX).map((each) => {
    const { runId, agent, before, after, statusBefore, statusAfter } = each
    return [
      runId,
      printable(agent),
      before === null ? 'none' : styledOutcome(terminal, before),
      styledOutcome(terminal, after.outcome),
      styledStatus(terminal, statusBefore),
      statusAfter === null ? 'goes on' : styledStatus(terminal, statusAfter),
      brokenNames(each),
    ]
  })
  if (rows.length > 0) for (const line of tableLines(terminal, columns, rows)) terminal.out(line)
  if (changed.length > SHOWN_MAX)
    terminal.out(terminal.style('dim', `  and ${count(changed.length - SHOWN_MAX)} more: --json`))
  terminal.out(`Tenant ${tenant}: ${count(changed.length)} of ${plural(runs, 'verdict')} would be others`)
}

function brokenNames({ after }: ChangedVerdict): string {
  return after.findings
    .filter(({ met }) => met === false)
    .map(({ name }) => name)
    .join(', ')
}
