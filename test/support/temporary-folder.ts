import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'

const IN_MEMORY = '/dev/shm'
/** What two servers and the databases of a run of the tests take at most, several times over. */
const ROOM_BYTES = 4 * 1_024 ** 3

/**
 * Gives this process, and those that it starts, a folder in memory as `TMPDIR`, if the machine has one with room: a
 * database there is made in a tenth of the time. Returns what removes it, with all that tests have left in it.
 */
export function useMemoryForTemporaryFiles(): () => void {
  if (process.env.TMPDIR || !isUsable()) return () => undefined
  removeLeftovers()
  const folder = mkdtempSync(join(IN_MEMORY, `concordat-tests-${process.pid}-`))
  chmodSync(folder, 0o755) // PostgreSQL may run as another user
  process.env.TMPDIR = folder
  return () => {
    delete process.env.TMPDIR
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Programs may have to be copied there and run, which not every machine allows. */
function isUsable(): boolean {
  try {
    const mounts = readFileSync('/proc/mounts', 'utf8').split('\n')
    const [, , , options = 'noexec'] = mounts.find((mount) => mount.split(' ')[1] === IN_MEMORY)?.split(' ') ?? []
    const { bavail, bsize } = statfsSync(IN_MEMORY)
    return bavail * bsize > ROOM_BYTES && !options.split(',').includes('noexec')
  } catch {
    return false // no such folder on this platform
  }
}

/** Of runs that were killed. */
function removeLeftovers(): void {
  for (const name of readdirSync(IN_MEMORY)) {
    const [, pid] = /^concordat-tests-(\d+)-/.exec(name) ?? []
    if (pid && !isAlive(Number(pid))) rmSync(join(IN_MEMORY, name), { recursive: true, force: true })
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
