import { AppError } from './app-error.ts'

/** Throws `INTERNAL` unless the condition holds: for what our own code guarantees, never for what a caller sent. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AppError('INTERNAL', `Broken invariant: ${message}`)
}

/** Closes a switch over a union: the compiler refuses it when a case is missing. */
export function unreachable(value: never): never {
  throw new AppError('INTERNAL', `Broken invariant: unexpected case ${String(value)}`)
}
