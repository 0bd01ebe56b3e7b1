import { Option } from 'commander'
import type { RunStatus, RunSummary } from '../../domains/runs/runs.ts'
import { AppError } from '../../foundation/app-error.ts'
import { isId } from '../../foundation/ids.ts'
import { defineCommand, integer } from './command.ts'
import { age, count, duration, usd } from './format.ts'
import { toJson } from './json.ts'
import { withSession } from './session.ts'
import { styledStatus } from './status-style.ts'
import { tableLines } from './table.ts'
import { printable, type Terminal } from './terminal.ts'

const STATUSES = ['queued', 'running', 'paused', 'succeeded', 'failed', 'failed_policy', 'cancelled'] as const
const LIMIT_MAX = 1_000

interface ListOptions {
  readonly status?: RunStatus
  readonly agent?: string
  readonly parked?: boolean
  readonly parent?: string
  readonly limit: number
  readonly before?: string
}

export const runsList = defineCommand<ListOptions>({
  usage: 'list',
  description: 'a tenant’s runs, newest first',
  options: [
    new Option('--status <status>', 'only these').choices(STATUSES),
    new Option('--agent <name>', 'only runs of this agent'),
    new Option('--parent <run>', 'only runs that this one has started'),
    new Option('--parked', 'only runs whose end a domain refuses; they are tried again'),
    new Option('--limit <n>', 'how many at the most').argParser(integer(1, LIMIT_MAX)).default(20),
    new Option('--before <run>', 'only runs older than this one: the next page'),
  ],
  run: async (context) => {
    const { terminal, options } = context
    const { tenant = 'default', json, status, agent, parent, parked, limit, before } = options
    for (const [option, id] of Object.entries({ before, parent })) {
      if (id === undefined || isId(id)) continue
      throw new AppError('INVALID_REQUEST', `--${option} takes a run id, not ${JSON.stringify(id)}`)
    }
    const { runs, now } = await withSession(context, async (concordat) => {
      const tenants = await concordat.tenants.list()
      if (!tenants.some(({ tenantId }) => tenantId === tenant)) {
        throw new AppError('UNKNOWN_TENANT', `there is no tenant ${JSON.stringify(tenant)}`)
      }
      const runs = await concordat.runs.list({ tenantId: tenant, status, agent, parent, parked, before, limit })
      return { runs, now: Date.now() }
    })
    const next = runs.length === limit ? (runs.at(-1)?.runId ?? null) : null
    if (json) terminal.out(toJson({ tenant, runs: runs.map(toReport), next }))
    else showPage(terminal, { tenant, runs, now, next })
    return 0
  },
})

function toReport({ tenantId: _tenant, stepCount: steps, ...run }: RunSummary) {
  return { ...run, steps }
}

interface Page {
  readonly tenant: string
  readonly runs: readonly RunSummary[]
  readonly now: number
  readonly next: string | null
}

function showPage(terminal: Terminal, { tenant, runs, now, next }: Page): void {
  if (runs.length === 0) {
    terminal.out(`Tenant ${tenant} has no such runs.`)
    return
  }
  const columns = [
    { head: 'RUN' },
    { head: 'AGENT', flexible: true },
    { head: 'STATUS' },
    { head: 'STEPS', align: 'right' },
    { head: 'AGE', align: 'right' },
    { head: 'TOOK', align: 'right', optional: true },
    { head: 'COST', align: 'right', optional: true },
    { head: 'REASON', flexible: true, optional: true },
  ] as const
  const rows = runs.map((run) => {
    const ended = run.endedAt !== null
    return [
      run.runId,
      printable(`${run.agent}@${run.agentVersion}`),
      styledStatus(terminal, run.status, run.pause?.reason ?? (run.parked ? 'parked' : run.waiting)),
      ended ? count(run.stepCount) : '', // counted at the end
      age(now - run.createdAt.getTime()),
      ended ? duration(run.endedAt.getTime() - run.createdAt.getTime()) : '',
      run.costUsd === null ? '' : usd(run.costUsd),
      run.pause ? pauseText(run.pause, now) : run.status === 'succeeded' ? '' : (run.reason ?? ''),
    ]
  })
  for (const line of tableLines(terminal, columns, rows)) terminal.out(line)
  if (next !== null) terminal.out(terminal.style('dim', `  older ones: --before ${next}`))
}

/** What becomes of a paused run though nobody resumes it, and why it is paused. */
function pauseText(
  { message, timeoutAt, onTimeout, escalated }: NonNullable<RunSummary['pause']>,
  now: number,
): string {
  const then = escalated ? 'escalated' : `${onTimeout} in ${age(new Date(timeoutAt).getTime() - now)}`
  return `${then}: ${printable(message)}`
}
