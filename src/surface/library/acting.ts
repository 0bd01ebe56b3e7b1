import { Authority } from '../../domains/pauses/pauses.ts'
import { AppError } from '../../foundation/app-error.ts'
import { safeText } from '../../foundation/payload-codec.ts'
import { limits } from '../../limits.ts'

/** Who acts, and as what. */
export interface Acting {
  readonly by: string
  readonly as: Authority
}

/** Fails with `INVALID_REQUEST` unless somebody acts, as something. */
export function checkActing({ by, as }: Acting): Acting {
  if (typeof by !== 'string' || by === '') throw new AppError('INVALID_REQUEST', 'by names who acts')
  if (!Object.hasOwn(Authority, as)) throw wrongAuthority(as, `it is one of ${Object.keys(Authority).join(', ')}`)
  return { by: safeText(by, limits.noteCharsMax), as }
}

/** The same of what Concordat never does by itself: only people pause and stop runs. */
export function checkPerson(acting: Acting): Acting {
  if (acting.as === Authority.SYSTEM_AUTO)
    throw wrongAuthority(acting.as, 'that is Concordat itself, and people do this')
  return checkActing(acting)
}

function wrongAuthority(as: string, why: string): AppError {
  return new AppError('INVALID_REQUEST', `nobody acts so as ${JSON.stringify(as)}: ${why}`)
}
