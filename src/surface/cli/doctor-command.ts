import { type Config, type EffectiveRow, effectiveConfig, readConfig } from '../../config.ts'
import type { HandlerDefinition } from '../../flow/reactor/reactor.ts'
import { exitCodeOf, toAppError } from '../../foundation/app-error.ts'
import { createBus, foreignKeys } from '../../foundation/bus/bus.ts'
import { meansNothing } from '../../foundation/events/events.ts'
import { silentLogger } from '../../foundation/log.ts'
import { defineCommand } from './command.ts'
import { COMMANDS } from './command-list.ts'
import { loadConfigFile } from './config-file.ts'
import { examineDatabase } from './doctor-database.ts'
import { type Finding, ok, warning, worstExitCode } from './doctor-findings.ts'
import { plural } from './format.ts'
import { toJson } from './json.ts'
import { tableLines } from './table.ts'
import { printable, type Style, type Terminal } from './terminal.ts'

const AREAS = ['configuration', 'database', 'events', 'workers', 'not enforced'] as const
const SIGNS: { readonly [Level in Finding['level']]: readonly [string, Style] } = {
  ok: ['✓', 'green'],
  warning: ['!', 'yellow'],
  error: ['✗', 'red'],
}

export const doctorCommand = defineCommand({
  ...COMMANDS.doctor,
  run: async ({ terminal, options }) => {
    const { config, problems, refused } = readConfig()
    const rows = effectiveConfig(config, refused)
    const findings = [...problems.map(wrongConfiguration), ...(await configurationFile(options.config))]
    if (problems.length === 0) {
      findings.push(
        ...(await examineDatabase(terminal, config, options.tenant ?? 'default')),
        ...(await transport(config)),
        ...notEnforced(config, rows),
      )
    }
    const exitCode = worstExitCode(findings)
    if (options.json) terminal.out(toJson({ exitCode, configuration: rows, findings }))
    else show(terminal, rows, findings)
    return exitCode
  },
})

/** Nothing else is looked at then: it could be another database than the one that is meant. */
function wrongConfiguration(text: string): Finding {
  const hint = 'Correct it and look again; until then no command works, and database and events are not looked at.'
  return { level: 'error', area: 'configuration', text, hint, exitCode: 3 }
}

async function configurationFile(asked: string | undefined): Promise<Finding[]> {
  try {
    const { path, definition } = await loadConfigFile(process.cwd(), asked)
    if (path === null) return [ok('configuration', 'no concordat.config.ts here: only the built-in agents are known')]
    const { agents = [], skills = [], handlers = [] } = definition
    const what = [plural(agents.length, 'agent'), plural(skills.length, 'skill'), plural(handlers.length, 'handler')]
    return [ok('configuration', `${path}: ${what.join(', ')}`), ...handlers.flatMap(neverCalled)]
  } catch (thrown) {
    const { message, hint } = toAppError(thrown)
    return [{ level: 'error', area: 'configuration', text: message, hint, exitCode: exitCodeOf(thrown) }]
  }
}

function neverCalled({ name, type }: HandlerDefinition): Finding[] {
  const nothing = meansNothing(type)
  if (nothing === null) return []
  return [
    warning('configuration', `handler ${name} is never called: ${nothing}`, 'docs/reference/events.md lists them.'),
  ]
}

async function transport({ eventTransport, redisUrl }: Config): Promise<Finding[]> {
  const used = ok('events', `events travel by ${eventTransport}`)
  if (redisUrl === undefined) return [used]
  const bus = await createBus({ transport: 'redis-pubsub', url: redisUrl, log: silentLogger })
  await bus.start()
  const { healthy } = bus
  await bus.stop()
  if (healthy) {
    const foreign = eventTransport === 'redis-streams' ? await foreignKeys(redisUrl, silentLogger) : []
    return [used, ok('events', 'Redis answers'), ...foreign.map(foreignKey)]
  }
  const hint = 'Check that Redis runs and that REDIS_URL is right. Events wait in the outbox meanwhile; none is lost.'
  return [used, { level: 'error', area: 'events', text: 'Redis does not answer', hint, exitCode: 4 }]
}

function foreignKey({ key, type, remedy }: { key: string; type: string; remedy: string }): Finding {
  return warning('events', `the Redis key ${key} is a ${type}, not a stream: its events are seconds late`, remedy)
}

/** What a reader of the configuration could believe to be in force, and is not. */
function notEnforced(config: Config, rows: readonly EffectiveRow[]): Finding[] {
  const area = 'not enforced'
  const inert = rows.filter(({ note }) => note.includes('not enforced')).map(({ variable }) => variable)
  return [
    !config.governanceProfile &&
      warning(area, 'no governance profile is set', 'GOVERNANCE_PROFILE=STRICT turns every guarantee on.'),
    !config.transactionCoordinatorEnabled &&
      warning(
        area,
        'runs end by the legacy path: a crash in the middle may leave a part of the footprint',
        'TRANSACTION_COORDINATOR_ENABLED=true',
      ),
    config.transactionCoordinatorEnabled &&
      config.transactionFallbackToLegacy &&
      warning(
        area,
        'a completion that a domain refuses falls back to the legacy path',
        'TRANSACTION_FALLBACK_TO_LEGACY=false',
      ),
    config.observabilityMode !== 'STRICT' &&
      warning(
        area,
        `OBSERVABILITY_MODE=${config.observabilityMode}: a run goes on when its trace can't be written, and says so`,
      ),
    !config.midExecutionPolicyCheckEnabled &&
      warning(
        area,
        'policies are held against a run when it ends, not before its steps',
        'MID_EXECUTION_POLICY_CHECK_ENABLED=true',
      ),
    config.policyDecisionsMuted && warning(area, 'OBSERVE_ONLY: policy decisions are recorded, not acted upon'),
    !config.eventReactorEnabled &&
      warning(
        area,
        'workers so configured have no reactor: alerts are sent only while a `concordat reactor` runs',
        'EVENT_REACTOR_ENABLED=true',
      ),
    !config.auditAlertsEnabled &&
      warning(area, 'alerts are stored; none is sent while they are off', 'AUDIT_ALERTS_ENABLED=true'),
    config.storage === 'embedded' &&
      warning(
        area,
        'the embedded database serves one process, and promises nothing about power loss',
        'Set DATABASE_URL for production.',
      ),
    inert.length > 0 && warning(area, `without effect in this version: ${inert.join(', ')}`),
  ].filter((finding) => finding !== false)
}

function show(terminal: Terminal, rows: readonly EffectiveRow[], findings: readonly Finding[]): void {
  const { style } = terminal
  const columns = [
    { head: 'VARIABLE' },
    { head: 'VALUE', flexible: true },
    { head: 'FROM' },
    { head: 'NOTE', flexible: true, optional: true },
  ] as const
  const cells = rows.map(({ variable, value, source, note }) => {
    const shown = printable(value, 200)
    return [variable, source === 'default' ? style('dim', shown) : shown, style('dim', source), style('dim', note)]
  })
  terminal.out(style('bold', 'Effective configuration'))
  for (const line of tableLines(terminal, columns, cells)) terminal.out(line)
  for (const area of AREAS) {
    const own = findings.filter((finding) => finding.area === area)
    if (own.length === 0) continue
    terminal.out('')
    terminal.out(style('bold', area[0]?.toUpperCase() + area.slice(1)))
    for (const { level, text, hint } of own) {
      const [sign, color] = SIGNS[level]
      terminal.out(`  ${style(color, sign)} ${printable(text, 1_000)}${hint ? style('dim', `  ${hint}`) : ''}`)
    }
  }
}
