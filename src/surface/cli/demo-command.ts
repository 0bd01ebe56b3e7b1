import { agreement, type DemoAudience, type DemoOutcome, runDemo, type Scene, tellEnd } from '../demo/demo.ts'
import type { FootprintCounts } from '../footprint/footprint.ts'
import type { RunReport } from '../library/library.ts'
import { defineCommand } from './command.ts'
import { COMMANDS } from './command-list.ts'
import { count, duration, fillLines } from './format.ts'
import { onInterruption } from './interruption.ts'
import { toJson } from './json.ts'
import { commandConfig, commandLog } from './session.ts'
import { styledOutcome, styledStatus } from './status-style.ts'
import { tableLines } from './table.ts'
import { printable, type Terminal } from './terminal.ts'

const NAME_CHARS = 8
const INTRODUCTION =
  'Agents do real work on this machine; what is staged is said. Profile STRICT: what a run leaves – incident, verdict, trace, status – is committed together or not at all.'

export const demoCommand = defineCommand({
  ...COMMANDS.demo,
  run: async ({ terminal, options }) => {
    const startedAt = performance.now()
    const interruption = onInterruption(terminal, 'Ending after this scene.')
    const log = commandLog(terminal, commandConfig(), 'silent') // refusals are staged: their log lines would alarm
    try {
      const audience = options.json ? silentAudience : narrator(terminal)
      const outcome = await runDemo(audience, log, interruption.signal)
      const { reports, counts, holds, surprises } = outcome
      if (options.json) terminal.out(toJson({ holds, surprises, ...agreement(counts), runs: reports.map(runSummary) }))
      else showEnd(terminal, outcome, performance.now() - startedAt)
      return holds ? 0 : 1
    } finally {
      interruption.end()
    }
  },
})

const silentAudience: DemoAudience = { opening: () => {}, begins: () => {}, ended: () => {} }

/** Tells each scene as it plays. */
function narrator(terminal: Terminal): DemoAudience {
  const { out, style } = terminal
  let hide = () => {}
  return {
    opening: (folder) => {
      out(style('bold', 'concordat demo'))
      for (const line of fillLines(INTRODUCTION.split(' '), terminal.columns - 2)) out(`  ${line}`)
      out(style('dim', `  Embedded database in ${folder}, removed at the end.`))
      out('')
      hide = terminal.live(() => terminal.styleErr('dim', '  creating the database …'))
    },
    begins: (scene) => {
      hide()
      hide = terminal.live(() =>
        terminal.styleErr(
          'dim',
          `  ${scene.agent.padEnd(NAME_CHARS)}  ${scene.about} …`.slice(0, terminal.columns - 1),
        ),
      )
    },
    ended: (scene, report) => {
      hide()
      hide = () => {}
      for (const line of sceneLines(terminal, scene, report)) out(line)
    },
  }
}

function sceneLines(terminal: Terminal, scene: Scene, report: RunReport): string[] {
  const { style, columns } = terminal
  const { agent, about, staged } = scene
  const indent = ' '.repeat(NAME_CHARS + 4)
  const block = (text: string) => fillLines(printable(text, 500).split(' '), columns - indent.length)
  const took = duration((report.endedAt?.getTime() ?? 0) - report.createdAt.getTime())
  const [ended = '', ...more] = block(`→ ${report.status} after ${took}: ${tellEnd(scene, report)}`)
  const lines = [
    ...block(about),
    ...(staged ? block(`staged: ${staged}`).map((line) => style('dim', line)) : []),
    ended.replace(report.status, styledStatus(terminal, report.status)),
    ...more.map((line) => `  ${line}`),
  ]
  return lines.map((line, index) =>
    index === 0 ? `  ${style('bold', agent.padEnd(NAME_CHARS))}  ${line}` : indent + line,
  )
}

function showEnd(terminal: Terminal, { reports, counts, surprises, holds }: DemoOutcome, tookMs: number): void {
  const { out, style } = terminal
  out('')
  for (const line of footprintTable(terminal, reports)) out(line)
  out('')
  out(style(holds ? 'green' : 'red', agreementLine(counts)))
  out(style('dim', `counted from the database; ${duration(tookMs)} altogether`))
  if (surprises.length > 0)
    terminal.err(`Not as it should be: ${surprises.join(', ')} ended otherwise than told above.`)
}

function footprintTable(terminal: Terminal, reports: readonly RunReport[]): string[] {
  const columns = [
    { head: 'AGENT' },
    { head: 'STATUS' },
    { head: 'PHASE', optional: true },
    { head: 'INCIDENT' },
    { head: 'VERDICT' },
    { head: 'TRACE' },
    { head: 'STEPS', align: 'right' },
    { head: 'ACKS', align: 'right' },
    { head: 'EVENTS', align: 'right' },
  ] as const
  const rows = reports.map((report) => {
    const { agent, status, phase, incident, evaluation, trace, steps, acks, events } = runSummary(report)
    return [
      agent,
      styledStatus(terminal, status),
      phase,
      styledOutcome(terminal, incident ?? 'MISSING'),
      styledOutcome(terminal, evaluation ?? 'MISSING'),
      styledOutcome(terminal, trace ?? 'MISSING'),
      String(steps),
      String(acks),
      String(events),
    ]
  })
  return tableLines(terminal, columns, rows)
}

function runSummary({ runId, agent, status, phase, incident, evaluation, trace, steps, acks, events }: RunReport) {
  return {
    runId,
    agent,
    status,
    phase,
    incident: incident?.outcome ?? null,
    evaluation: evaluation?.verdict.outcome ?? null,
    trace: trace?.ending ?? null,
    steps: steps.length,
    acks: acks.filter((ack) => ack.status === 'SUCCESS').length,
    events: events.length,
  }
}

/** The line that proves the agreement. */
function agreementLine(counts: FootprintCounts): string {
  const { ended, incidents, evaluations, traces, acks, missing, drift, outbox } = agreement(counts)
  return [
    `${count(ended)} runs ended`,
    `${count(incidents)} incidents`,
    `${count(evaluations)} policy evaluations`,
    `${count(traces)} traces`,
    `${count(acks)} acks`,
    `${count(missing)} missing`,
    `${count(drift)} drift`,
    `outbox ${count(outbox)}`,
  ].join(' · ')
}
