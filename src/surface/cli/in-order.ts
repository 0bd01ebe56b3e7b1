/** Tells in order what becomes known out of order. */
export interface InOrder<T> {
  /** What there is to tell of a number, from 1 on, each once; null: nothing. */
  known(number: number, told: T | null): void
  /** Tells what is left: the numbers before it will not become known. */
  flush(): void
}

export function inOrder<T>(tell: (told: T) => void): InOrder<T> {
  const held = new Map<number, T | null>()
  let next = 1
  return {
    known(number, told) {
      held.set(number, told)
      for (let now = held.get(next); now !== undefined; now = held.get(++next)) {
        held.delete(next)
        if (now !== null) tell(now)
      }
    },
    flush() {
      for (const [, told] of [...held].sort(([a], [b]) => a - b)) if (told !== null) tell(told)
      held.clear()
    },
  }
}
