import type { Concordat } from '../../runtime.ts'
import type { ExitCode } from './errors.ts'
import { onInterruption } from './interruption.ts'
import type { CommandContext, SessionOptions } from './session.ts'

/** A command that works until it is told to end (Ctrl-C, SIGTERM): says what it does, then ends gracefully. */
export async function runService(
  { terminal, open }: CommandContext,
  { draining, describe, ...session }: SessionOptions & { draining: string; describe(concordat: Concordat): string },
): Promise<ExitCode> {
  const concordat = await open({ logLevel: 'info', ...session })
  const interruption = onInterruption(terminal, draining)
  try {
    await concordat.start()
    terminal.err(describe(concordat))
    await new Promise<void>((resolve) => {
      if (interruption.signal.aborted) resolve()
      interruption.signal.addEventListener('abort', () => resolve(), { once: true })
    })
  } finally {
    await concordat.close()
    interruption.end()
  }
  return 0
}

/** The database, without user and password. */
export function databasePlace({ config, database }: Concordat): string {
  if (database.kind === 'embedded') return `embedded database ${config.dataDir}`
  const { host, pathname } = new URL(config.databaseUrl ?? '')
  return `PostgreSQL ${host}${pathname}`
}
