import { readFileSync } from 'node:fs'
import { access, mkdir, open, readFile, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
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
 * Makes this process the only user of the folder, created where it is missing, until the returned function is called.
 * The embedded database has no lock of its own, and two processes would corrupt it. Takes over from a dead holder.
 * Fails with `EMBEDDED_LOCKED`, and with `INVALID_CONFIGURATION` when the folder can't be made or written to.
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  try {
    await makeFolder(resolve(folder))
    return await takeLock(folder)
  } catch (error) {
    throw folderError(folder, error)
  }
}

/** What the system said about the folder, as the wrong configuration that it is; any other error as it was. */
export function folderError(folder: string, error: unknown): unknown {
  if (error instanceof AppError || !(error instanceof Error) || !('syscall' in error)) return error
  const [reason] = error.message.split(',')
  return new AppError('INVALID_CONFIGURATION', `the embedded database can't use the folder ${folder}: ${reason}`, {
    cause: error,
    hint: 'Set CONCORDAT_DATA_DIR to a folder that this user may create and write to, or DATABASE_URL to a PostgreSQL.',
  })
}

/** Not `mkdir` with `recursive`: below a folder that takes no entries, as /proc, Node's never returns. */
async function makeFolder(folder: string): Promise<void> {
  const exists = await access(folder).then(
    () => true,
    () => false,
  )
  if (exists) return
  if (dirname(folder) !== folder) await makeFolder(dirname(folder))
  await mkdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error // another process was faster
  })
}

async function takeLock(folder: string): Promise<() => Promise<void>> {
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
        details: { pid: holder },
      })
    }
    await rm(path, { force: true })
  }
}
