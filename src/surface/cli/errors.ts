import type { CommanderError } from 'commander'
import { AppError, type ErrorCode, exitCodeOf, toAppError } from '../../foundation/app-error.ts'
import { toJson } from './json.ts'
import { printable, type Terminal } from './terminal.ts'

/** 0 fine, 1 the work failed, 2 usage, 3 configuration, 4 unreachable, 130 and 143 interrupted before the end. */
export type ExitCode = 0 | 1 | 2 | 3 | 4 | 130 | 143

/** What helps after an error of this code, where one command does. */
const NEXT_COMMANDS: { readonly [Code in ErrorCode]?: string } = {
  INVALID_CONFIGURATION: 'concordat doctor',
  DATABASE_UNREACHABLE: 'concordat doctor',
  BUS_UNREACHABLE: 'concordat doctor',
  RUN_NOT_FOUND: 'concordat runs list',
  APPROVAL_NOT_FOUND: 'concordat approvals list',
  UNKNOWN_AGENT: 'concordat doctor',
  UNKNOWN_HANDLER: 'concordat doctor',
  UNKNOWN_TENANT: 'concordat tenants list',
}
/** The same where the command is about the tenant that the error's details name. */
const NEXT_COMMANDS_ON_TENANT: { readonly [Code in ErrorCode]?: (tenantId: string) => string } = {
  POLICY_NOT_FOUND: (tenantId) => `concordat policies list${tenantId === 'default' ? '' : ` --tenant ${tenantId}`}`,
  TENANT_SUSPENDED: (tenantId) => `concordat tenants resume ${tenantId}`,
}
/** The same where the command takes the run that the error's details name. */
const NEXT_COMMANDS_ON_RUN: { readonly [Code in ErrorCode]?: string } = {
  RUN_ENDED: 'concordat runs get',
  RUN_PAUSED: 'concordat runs get',
  RUN_NOT_PAUSED: 'concordat runs get',
  RESUME_FORBIDDEN: 'concordat runs get',
  TRANSACTION_FAILED: 'concordat runs get',
}

/** A command line that can't be understood: `path` is the command whose help tells more. */
export class UsageError extends AppError {
  readonly path: string

  constructor(path: string, message: string) {
    super('INVALID_REQUEST', message, { hint: 'Correct the named option or argument.' })
    this.path = path
  }
}

/** Commander's own errors in our words; null for help and version, which are none. */
export function usageError(error: CommanderError, path: string): UsageError | null {
  if (error.exitCode === 0) return null
  const message = error.code === 'commander.help' ? 'a command is missing' : error.message.replace(/^error: /, '')
  return new UsageError(path, message)
}

/**
 * Tells what went wrong on standard error, for people or as one JSON object, and returns the exit code. `command` is
 * what helps next where the caller knows better than the error.
 */
export function reportError(terminal: Terminal, thrown: unknown, asJson: boolean, command?: string): ExitCode {
  const error = toAppError(thrown)
  const next = command ?? nextCommand(error)
  const { code, hint, details } = error
  if (asJson) {
    terminal.err(
      toJson({ error: { code, message: error.message, hint, ...(next && { next }), ...(details && { details }) } }),
    )
  } else {
    const message = error.message.split('\n').map((line) => printable(line.trimEnd(), 2_000))
    terminal.err(`${terminal.styleErr(['red', 'bold'], code)}  ${message.join('\n  ')}`)
    if (hint) terminal.err(`  ${terminal.styleErr('dim', 'hint')}  ${printable(hint, 2_000)}`)
    if (next) terminal.err(`  ${terminal.styleErr('dim', 'next')}  ${next}`)
  }
  return exitCodeOf(error)
}

function nextCommand(error: AppError): string | undefined {
  if (error instanceof UsageError) return `${error.path} --help`
  const { runId, phase } = error.details ?? {}
  if (error.code === 'RUN_ENDED' && phase === 'FINALIZING') return `concordat runs finalize ${runId}`
  if (error.code === 'EMBEDDED_LOCKED' && error.details?.pid) return `ps -p ${error.details.pid}`
  const onTenant = NEXT_COMMANDS_ON_TENANT[error.code]
  if (onTenant !== undefined && typeof error.details?.tenantId === 'string') return onTenant(error.details.tenantId)
  const onRun = NEXT_COMMANDS_ON_RUN[error.code]
  return onRun !== undefined && runId !== undefined ? `${onRun} ${runId}` : NEXT_COMMANDS[error.code]
}
