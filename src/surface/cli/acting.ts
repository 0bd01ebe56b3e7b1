import { userInfo } from 'node:os'
import { Option } from 'commander'
import { Authority } from '../../domains/pauses/pauses.ts'
import type { Acting } from '../library/library.ts'

export interface ActingOptions {
  readonly by?: string
  readonly as: Authority
}

/** The options of a command by which somebody acts on a run. */
export function actingOptions(): Option[] {
  return [
    new Option('--by <name>', 'who does it; default your login; kept with what it changes'),
    new Option('--as <role>', 'as what; kept with what it changes')
      .choices(Object.values(Authority))
      .default('OPERATOR'),
  ]
}

/** Who acts, and as what. */
export function actingOf({ by, as }: ActingOptions): Acting {
  return { by: by ?? login(), as }
}

/** A process need not belong to a user that the system knows. */
function login(): string {
  try {
    return userInfo().username
  } catch {
    return 'unknown'
  }
}
