import { type Config, type ConfigOverrides, loadConfig, type ProcessKind } from '../../config.ts'
import { createLogger, type Logger, type LogLevel } from '../../foundation/log.ts'
import type { Concordat } from '../../runtime.ts'
import { loadConfigFile } from './config-file.ts'
import { whileWaiting } from './progress.ts'
import type { Terminal } from './terminal.ts'

/** The options that every command takes. */
export interface CommonOptions {
  readonly json?: true
  readonly tenant?: string
  readonly config?: string
}

/** What a command works with. */
export interface CommandContext<Options extends CommonOptions = CommonOptions> {
  readonly terminal: Terminal
  readonly options: Options
  /** The command's arguments as they were given. */
  readonly args: readonly string[]
  /** Opens the runtime that the command works on. Close it. */
  open(session?: SessionOptions): Promise<Concordat>
}

export interface SessionOptions {
  readonly processKind?: ProcessKind
  readonly config?: ConfigOverrides
  /** What is logged unless LOG_LEVEL is set; a command that is not a service says only what is wrong. */
  readonly logLevel?: LogLevel
}

/** The configuration as a command sees it. Fails with `INVALID_CONFIGURATION`. */
export function commandConfig({ processKind, config }: SessionOptions = {}): Config {
  return loadConfig(undefined, config, processKind)
}

/** A log on standard error at the command's own level, unless LOG_LEVEL says another. */
export function commandLog(terminal: Terminal, { sources, logLevel }: Config, quietLevel: LogLevel = 'warn'): Logger {
  const level = sources.logLevel === 'default' ? quietLevel : logLevel
  return createLogger({ level, destination: { write: (line) => terminal.err(line.trimEnd()) } })
}

export type OpenSession = typeof openSession

/** Opens a runtime with what the configuration file defines. Close it. */
export async function openSession(
  terminal: Terminal,
  configFile: string | undefined,
  session: SessionOptions = {},
): Promise<Concordat> {
  const { definition } = await loadConfigFile(process.cwd(), configFile)
  const config = commandConfig(session)
  const { createConcordat } = await import('../../runtime.ts') // half of all code; help and wrong usage need none of it
  const opening = createConcordat({
    ...definition,
    log: commandLog(terminal, config, session.logLevel),
    ...(session.config && { config: session.config }),
    ...(session.processKind && { processKind: session.processKind }),
  })
  const what = config.databaseUrl === undefined ? `opening the embedded database in ${config.dataDir}` : 'connecting'
  return survivingAgents(await whileWaiting(terminal, what, opening))
}

/** Until it is closed, what an agent throws where nobody can catch it ends its run, and not this process. */
function survivingAgents(concordat: Concordat): Concordat {
  const { close } = concordat
  const ignore = () => process.off('uncaughtException', handle).off('unhandledRejection', handle)
  const handle = (error: unknown) => {
    if (concordat.blame(error)) return
    ignore()
    setImmediate(() => {
      throw error
    })
  }
  process.on('uncaughtException', handle).on('unhandledRejection', handle)
  return Object.assign(concordat, { close: () => close().finally(ignore) })
}

/** Opens a runtime for the time of the work. */
export async function withSession<T>(
  context: CommandContext,
  work: (concordat: Concordat) => Promise<T>,
  session?: SessionOptions,
): Promise<T> {
  const concordat = await context.open(session)
  try {
    return await work(concordat)
  } finally {
    await concordat.close()
  }
}
