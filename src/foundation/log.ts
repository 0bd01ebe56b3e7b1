import { destination as openDestination, type Logger as PinoLogger, pino } from 'pino'
import { redact, redactText } from './redact.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

export type LogFields = Readonly<Record<string, unknown>>

/** Writes what happened, fields first: `log.warn({ runId, error }, 'Lease lost')`. Secrets in them are redacted. */
export interface Logger {
  debug(fields: LogFields, message: string): void
  info(fields: LogFields, message: string): void
  warn(fields: LogFields, message: string): void
  error(fields: LogFields, message: string): void
  /** A logger that adds these fields to every line. */
  child(fields: LogFields): Logger
}

export interface LoggerOptions {
  readonly level: LogLevel
  /** Where the lines go; standard error unless given, so that standard output stays for results. */
  readonly destination?: { write(line: string): void }
}

/** A logger that writes one line of JSON per call, with `level` as a word and `time` in ISO 8601. */
export function createLogger({ level, destination = openDestination(2) }: LoggerOptions): Logger {
  const options = {
    level,
    base: null,
    timestamp: () => `,"time":"${new Date().toISOString()}"`, // when the line was written: a matter of this machine
    formatters: { level: (label: string) => ({ level: label }) },
  }
  return wrap(pino(options, destination))
}

function wrap(target: PinoLogger): Logger {
  const write = (level: 'debug' | 'info' | 'warn' | 'error') => (fields: LogFields, message: string) => {
    if (target.isLevelEnabled(level)) target[level](redact(fields), redactText(message))
  }
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (fields) => wrap(target.child(redact(fields) as Record<string, unknown>)),
  }
}

const ignore = () => {}

/** Writes nothing. */
export const silentLogger: Logger = Object.freeze({
  debug: ignore,
  info: ignore,
  warn: ignore,
  error: ignore,
  child: () => silentLogger,
})
