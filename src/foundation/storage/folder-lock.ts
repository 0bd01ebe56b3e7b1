import { readFileSync } from 'node:fs'
import { open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError } from '../app-error.ts'

/** When the process started, so that a recycled process id is not mistaken for the holder. Linux only; else empty. */
function startedAt(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return ''
  }
}

function isAlive(pid: number, started: string): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  return started === '' || startedAt(pid) === started
}

/**
 * Makes this process the only user of the folder until the returned function is called. The embedded database has no
 * lock of its own, and two processes would corrupt it. Fails with `EMBEDDED_LOCKED`; takes over from a dead holder.
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, 'concordat.lock')
  for (let attempt = 1; ; attempt++) {
    try {
      const file = await open(path, 'wx', 0o600)
      await file.writeFile(`${process.pid} ${startedAt(process.pid)}\n`)
      await file.close()
      return () => rm(path, { force: true })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const [pid, started = ''] = (await readFile(path, 'utf8').catch(() => '')).trim().split(' ')
    const holder = Number(pid)
    if (attempt > 3 || (holder > 0 && isAlive(holder, started))) {
      throw new AppError('EMBEDDED_LOCKED', `process ${holder || '?'} has the embedded database in ${folder} open`, {
        hint: 'stop that process, pick another CONCORDAT_DATA_DIR, or set DATABASE_URL to share one PostgreSQL',
      })
    }
    await rm(path, { force: true })
  }
}
