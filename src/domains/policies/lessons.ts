import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import type { Verdict } from './policy-rules.ts'

export type LessonKind = 'NEAR_THRESHOLD' | 'EFFICIENT_SUCCESS'

/** What a tenant can learn from one run's end: it came near a limit, or did its work with little. */
export interface Lesson {
  readonly tenantId: string
  readonly runId: string
  readonly kind: LessonKind
  readonly policy: string
  readonly agent: string
  readonly share: number
  readonly createdAt: Date
}

/** Of a limit: from here on a met limit was met narrowly. */
const NEAR_SHARE = 0.85
/** Of a limit: a success that used no more than this of each limit was efficient. */
const EFFICIENT_SHARE = 0.5

interface LessonFacts {
  readonly tenantId: string
  readonly runId: string
  readonly agent: string
  readonly succeeded: boolean
  readonly verdict: Verdict
  readonly at: Date
}

/** Near-threshold: 85–100 % of a limit. Efficient success: at most 50 % of every limit, one lesson for the tightest. */
export function lessonsOf({ tenantId, runId, agent, succeeded, verdict, at }: LessonFacts): Lesson[] {
  const shares = verdict.findings.flatMap((finding) => {
    if (!('limit' in finding) || finding.value === null || finding.limit === 0) return []
    return [{ policy: finding.name, share: finding.value / finding.limit }]
  })
  const lesson = (kind: LessonKind, { policy, share }: { policy: string; share: number }): Lesson => {
    return { tenantId, runId, kind, policy, agent, share, createdAt: at }
  }
  const near = shares.filter(({ share }) => share >= NEAR_SHARE && share <= 1)
  if (near.length > 0) return near.map((each) => lesson('NEAR_THRESHOLD', each))
  const tightest = shares.toSorted((a, b) => b.share - a.share)[0]
  if (!succeeded || !tightest || tightest.share > EFFICIENT_SHARE) return []
  return [lesson('EFFICIENT_SUCCESS', tightest)]
}

const LESSONS = rowSet<Lesson>({
  tenant_id: ['text', (lesson) => lesson.tenantId],
  run_id: ['uuid', (lesson) => lesson.runId],
  kind: ['text', (lesson) => lesson.kind],
  policy: ['text', (lesson) => lesson.policy],
  agent: ['text', (lesson) => lesson.agent],
  detail: ['jsonb', ({ share }) => JSON.stringify({ share })],
  created_at: ['timestamptz', (lesson) => lesson.createdAt],
})

const INSERT_LESSONS = statement(
  'lessons_insert',
  `insert into concordat.lessons (${LESSONS.names}) select * from ${LESSONS.from(1)} as x`,
)

export async function writeLessons(tx: Tx, lessons: readonly Lesson[]): Promise<void> {
  if (lessons.length > 0) await tx.query(INSERT_LESSONS, LESSONS.values(lessons))
}
