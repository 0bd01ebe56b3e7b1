import { AppError, type ErrorCode } from '../../foundation/app-error.ts'
import { safeText } from '../../foundation/payload-codec.ts'
import type { Concordat } from '../../runtime.ts'
import { type LineFile, openLines, type RawLine, readTrajectory, type Trajectory } from '../replay/replay.ts'
import { inOrder } from './in-order.ts'

export interface TrajectoryFile extends LineFile {
  readonly path: string
}

/** Opens all files before anything is done, so that a wrong name is told at once. Fails with `INVALID_REQUEST`. */
export async function openFiles(paths: readonly string[]): Promise<TrajectoryFile[]> {
  return Promise.all([...new Set(paths)].map(async (path) => ({ path, ...(await openLines(path)) })))
}

/** How far it has come; counts of this process, while what is reported at the end is counted from the database. */
export interface Submissions {
  lines: number
  malformed: number
  /** Well-formed, but replayed before with other content. */
  refused: number
  /** Repeat a line that came before, here or in another of the files. */
  duplicates: number
  /** New ones; those that an earlier replay submitted are only in `runIds`. */
  submitted: number
  /** 0 to 1, of the files' bytes. */
  share: number
  readonly runIds: Set<string>
}

export interface SubmitPace {
  /** Lines that are in memory at the same time. */
  readonly concurrency: number
  readonly limit: number
  readonly signal: AbortSignal
  readonly onRun: (runId: string) => void
  /** Hears of each line that can't be replayed, in their order; the message begins with `FILE:LINE: `. */
  readonly onSkipped: (error: AppError) => void
}

/** What is wrong with a line and not with the whole: the others go on. */
const LINE_ERRORS: ReadonlySet<ErrorCode> = new Set([
  'MALFORMED_TRAJECTORY',
  'IDEMPOTENCY_CONFLICT',
  'INVALID_REQUEST',
  'INVALID_INPUT',
  'INPUT_TOO_LARGE',
  'NOT_SERIALIZABLE',
])

/** Submits each line as a run of agent `replay`, under a key of its own, so that a line is one run however often. */
export async function submitLines(
  { runs }: Concordat,
  tenant: string,
  files: readonly TrajectoryFile[],
  submissions: Submissions,
  { concurrency, limit, signal, onRun, onSkipped }: SubmitPace,
): Promise<void> {
  const lines = linesOf(files, submissions, limit)
  const failed = new AbortController()
  const skipped = inOrder(onSkipped)
  const stop = AbortSignal.any([signal, failed.signal])

  const submit = async ({ path, line }: FileLine) => {
    const read = readTrajectory(line, path)
    if ('malformed' in read) throw read.malformed
    const run = await runs.submit({ tenant, agent: 'replay', ...read }).catch((error) => {
      throw lineError(error, read, path, line.lineNumber)
    })
    if (!run.deduplicated) submissions.submitted++
    if (submissions.runIds.has(run.runId)) {
      submissions.duplicates++
      return
    }
    submissions.runIds.add(run.runId)
    onRun(run.runId)
  }
  const submitInTurn = async () => {
    for (let next = await lines.next(); !next.done; next = await lines.next()) {
      if (stop.aborted) return
      const wrong = await submit(next.value).then(() => null, lineErrorOf)
      if (wrong?.code === 'IDEMPOTENCY_CONFLICT') submissions.refused++
      else if (wrong) submissions.malformed++
      skipped.known(next.value.number, wrong)
    }
  }
  try {
    await Promise.all(Array.from({ length: concurrency }, submitInTurn))
  } catch (error) {
    failed.abort()
    throw error
  } finally {
    skipped.flush()
    await lines.return()
  }
}

function lineErrorOf(error: unknown): AppError {
  if (error instanceof AppError && LINE_ERRORS.has(error.code)) return error
  throw error
}

const ID_CHARS_SHOWN = 100

/** What was wrong with a line, told by file, line and the trajectory's own id: nobody knows its idempotency key. */
function lineError(error: unknown, { input }: Trajectory, file: string, line: number): unknown {
  if (!(error instanceof AppError) || !LINE_ERRORS.has(error.code)) return error
  const { code, message, hint, cause } = error
  const details = { ...error.details, file, line }
  if (code !== 'IDEMPOTENCY_CONFLICT') {
    return new AppError(code, `${file}:${line}: ${message}`, { hint, cause, details })
  }
  const [id, source] = [input.id, input.source].map((text) => JSON.stringify(safeText(String(text), ID_CHARS_SHOWN)))
  return new AppError(code, `${file}:${line}: trajectory ${id} of ${source} was replayed before with other content`, {
    hint: 'Give the changed trajectory an id of its own, or replay it as it was.',
    cause,
    details,
  })
}

interface FileLine {
  readonly path: string
  readonly line: RawLine
  /** Of all lines of the files, from 1. */
  readonly number: number
}

async function* linesOf(files: readonly TrajectoryFile[], submissions: Submissions, limit: number) {
  for await (const { share, ...line } of allLines(files)) {
    if (submissions.lines >= limit) break
    submissions.lines++
    submissions.share = share
    yield { ...line, number: submissions.lines }
  }
  submissions.share = 1
}

async function* allLines(
  files: readonly TrajectoryFile[],
): AsyncGenerator<Omit<FileLine, 'number'> & { share: number }> {
  const totalBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  let bytesBefore = 0
  for (const { path, sizeBytes, lines } of files) {
    for await (const line of lines) yield { path, line, share: (bytesBefore + line.bytesRead) / totalBytes }
    bytesBefore += sizeBytes
  }
}
