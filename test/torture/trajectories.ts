import type { Json } from '../../src/index.ts'
import { between, oneOf } from './random.ts'

/** A recorded step as a trajectory file has it. */
export interface GeneratedStep {
  readonly index: number
  readonly kind: 'llm' | 'tool' | 'user'
  readonly name: string
  readonly input: Json
  readonly output: Json
  readonly error: string | null
  readonly tokens_in: number | null
  readonly tokens_out: number | null
  readonly cost_usd: number | null
}

export interface GeneratedTrajectory {
  readonly source: string
  readonly id: string
  readonly steps: readonly GeneratedStep[]
  readonly outcome: { readonly status: 'succeeded' | 'failed'; readonly error: string | null }
}

const TEXTS = [
  '',
  'plain',
  'grüße 🎉',
  'a\0b',
  '\ud800 alone',
  '"quoted" \\ {curly} [square]',
  'line\nline',
  'x'.repeat(3_000),
]

/** A trajectory like those that agents leave: a few to some dozen steps, some failed, texts of every kind. */
export function generateTrajectory(random: () => number, id: string): GeneratedTrajectory {
  const failed = random() < 0.4
  const steps = Array.from({ length: between(random, 0, 20) }, (_, index) => generateStep(random, index))
  const outcome = failed
    ? { status: 'failed' as const, error: `gave up: ${oneOf(random, TEXTS)}` }
    : { status: 'succeeded' as const, error: null }
  return { source: 'generated', id, steps, outcome }
}

function generateStep(random: () => number, index: number): GeneratedStep {
  const kind = oneOf(random, ['llm', 'tool', 'user'] as const)
  const used = kind === 'llm' && random() < 0.8
  return {
    index,
    kind,
    name: oneOf(random, ['think', 'search', 'edit [a/b]', 'run#1']),
    input: { text: oneOf(random, TEXTS), index },
    output: oneOf<Json>(random, [
      null,
      oneOf(random, TEXTS),
      [1, { deep: [oneOf(random, TEXTS)] }],
      { z: 1, a: index },
    ]),
    error: random() < 0.15 ? `failed: ${oneOf(random, TEXTS)}` : null,
    tokens_in: used ? between(random, 0, 5_000) : null,
    tokens_out: used ? between(random, 0, 500) : null,
    cost_usd: used ? between(random, 0, 100_000) / 1e9 : null,
  }
}
