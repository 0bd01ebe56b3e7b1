import { limits } from '../limits.ts'

export interface BackoffOptions {
  /** The attempt that failed, from 1. */
  readonly attempt: number
  readonly baseMs: number
  readonly capMs: number
  /** Chance, from 0 up to but without 1. */
  readonly random: () => number
}

/**
 * How long to wait before the next attempt: anything from 0 to the doubled bound (full jitter), so that callers that
 * failed together do not come back together. https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export function backoffMs({ attempt, baseMs, capMs, random }: BackoffOptions): number {
  return Math.floor(random() * Math.min(capMs, baseMs * 2 ** (attempt - 1)))
}

/** Resolves after so many ms, 24 days at most; rejects with the signal's reason as soon as it aborts. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const onAbort = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(
      () => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      },
      Math.min(ms, limits.timerMsMax),
    )
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

export interface TimeoutOptions {
  readonly timeoutMs: number
  /** Makes the error that is thrown, and given to the work as its signal's reason. */
  readonly onTimeout: () => Error
  /** Aborts the work from outside as well. */
  readonly signal?: AbortSignal
}

/**
 * Returns the work's result if it comes in time. Otherwise its signal aborts and the error is thrown at once, without
 * waiting for work that does not listen; what such work still returns or throws is dropped.
 */
export async function withTimeout<T>(work: (signal: AbortSignal) => Promise<T>, options: TimeoutOptions): Promise<T> {
  const deadline = new AbortController()
  const timer = setTimeout(() => deadline.abort(options.onTimeout()), Math.min(options.timeoutMs, limits.timerMsMax))
  const signal = options.signal ? AbortSignal.any([options.signal, deadline.signal]) : deadline.signal
  try {
    signal.throwIfAborted()
    return await Promise.race([work(signal), rejectOnAbort(signal)])
  } finally {
    clearTimeout(timer)
  }
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}
