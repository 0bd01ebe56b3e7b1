import { AppError } from '../../foundation/app-error.ts'
import { type ExpressionContext, type RunFacts, runContext, type StepFacts } from './expression-facts.ts'
import { isLimit, type LimitDefinition } from './policy-document.ts'
import { type ActivePolicy, isWithin, usedOf } from './policy-rules.ts'
import { isAbout } from './step-texts.ts'

/** A step that is about to run, and what was used so far. */
export interface NextStep {
  readonly run: RunFacts
  readonly step: StepFacts
  /** The same as expressions see it, made once however many ask. */
  readonly context: () => ExpressionContext
}

/** Pure. */
export function nextStep(run: RunFacts, step: StepFacts): NextStep {
  let context: ExpressionContext | undefined
  return {
    run,
    step,
    context: () => {
      context ??= { run: runContext(run), step }
      return context
    },
  }
}

/**
 * Pure. True for a condition that asks about the next step; given one, only if it is about that one: of any other, what it
 * says of a step is false.
 */
export function isConditionOnStep(policy: ActivePolicy, step?: StepFacts): boolean {
  if (isLimit(policy) || !policy.compiled.ok || !policy.compiled.expression.usesStep) return false
  return step === undefined || isAbout(policy.compiled.expression.stepTexts, step)
}

export interface Breach {
  readonly message: string
  readonly value: number | null
}

/**
 * Pure. How the next step would break the policy; null when it would not. What the step adds for certain (itself, its
 * tool call, its request) counts already. `windowUse` is what was used in the policy's scope and window, in the unit of
 * its metric; null where the run is both. Fails with `INTERNAL` for a limit whose use was not read: it is not met.
 */
export function brokenBy(policy: ActivePolicy, next: NextStep, windowUse: number | null): Breach | null {
  if (isLimit(policy)) return limitBrokenBy(policy, next, windowUse)
  const { compiled, when } = policy
  if (!compiled.ok) return { message: 'it does not compile, which never means allowed', value: null }
  const answer = compiled.expression.holdAgainst(next.context())
  switch (answer.kind) {
    case 'clear':
      return null
    case 'hit':
      return { message: when, value: null }
    case 'needs_step':
    case 'failed': {
      const why = answer.kind === 'failed' ? answer.message : 'it asks for a step'
      return { message: `it could not be evaluated, which never means allowed: ${why}`, value: null }
    }
  }
}

function limitBrokenBy(
  policy: ActivePolicy & LimitDefinition,
  { run, step }: NextStep,
  windowUse: number | null,
): Breach | null {
  const { name, metric, max, scope, window } = policy
  const ofRun = window === 'run'
  if (!ofRun && windowUse === null) throw new AppError('INTERNAL', `what policy ${name} adds up was not read`)
  const used = ofRun ? usedOf(metric, run) : windowUse
  if (used === null) return null
  const added = addedBy(step, metric)
  const within = ofRun && metric === 'cost_usd' ? isWithin(policy, run) : used + added <= max
  if (within) return null
  const where = ofRun ? '' : ` in a ${window} of the ${scope.replace('_', ' ')}`
  const sum = added === 0 ? `${used}` : `${used} and this step`
  return { message: `${metric} ${sum} over ${max}${where}`, value: used }
}

function addedBy({ kind }: StepFacts, metric: LimitDefinition['metric']): number {
  if (metric === 'steps') return 1
  if (metric === 'tool_calls') return kind === 'tool' ? 1 : 0
  return metric === 'requests_per_minute' && (kind === 'tool' || kind === 'llm') ? 1 : 0
}
