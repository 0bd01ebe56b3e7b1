import { z } from 'zod'
import { limits } from '../../limits.ts'

/** What a limit can count, with its unit. */
export const METRICS = Object.freeze({
  cost_usd: 'cost in US dollars',
  tokens: 'tokens sent and received',
  steps: 'recorded steps',
  tool_calls: 'steps that call a tool',
  wall_clock_seconds: 'seconds since execution started, waiting included; only of scope `run`',
  requests_per_minute: 'model and tool calls in a minute; its window is always `minute`',
})
export type PolicyMetric = keyof typeof METRICS

const scopes = ['run', 'agent', 'tenant', 'api_key'] as const
export type PolicyScope = (typeof scopes)[number]

const windows = ['run', 'minute', 'hour', 'day', 'month'] as const
export type PolicyWindow = (typeof windows)[number]

const effects = ['terminate', 'pause', 'require_approval', 'warn'] as const
export type PolicyEffect = (typeof effects)[number]

const onChanges = ['pause', 'live', 'pinned'] as const
export type PolicyOnChange = (typeof onChanges)[number]

const oneOf = <const T extends readonly [string, ...string[]]>(values: T, described: string) =>
  z.enum(values, { error: ({ input }) => `${JSON.stringify(input)} is not one of ${values.join(', ')}` }).meta({
    description: described,
  })

/** Text that tables, logs and screens can show, and that `jsonb` can hold. */
const line = (charsMax: number) =>
  z.string().regex(new RegExp(`^[^\\p{Cc}\\p{Cs}]{1,${charsMax}}$`, 'u'), {
    error: `must have 1 to ${charsMax} characters, none of them a control character`,
  })

const common = {
  name: z
    .string()
    .regex(/^[\w.:@/-]{1,200}$/, { error: 'must have 1 to 200 letters, digits or any of _ . : @ / -' })
    .meta({ description: 'Unique in its tenant; applying it again makes its next version.' }),
  description: line(limits.policyDescriptionCharsMax).nullable().default(null).meta({ description: 'For people.' }),
  agent: line(limits.stepNameCharsMax)
    .nullable()
    .default(null)
    .meta({ description: 'Only runs of this agent; of every agent where it is left out.' }),
  effect: oneOf(effects, 'What happens to a run that breaks the policy.').default('terminate'),
  onChange: oneOf(
    onChanges,
    'What a change of the policy does to runs under way: pause them, hold for them at once, or not at all.',
  ).default('pause'),
  enabled: z.boolean().default(true).meta({ description: 'False: kept, but held against no run.' }),
}

const metricNames = Object.keys(METRICS) as [PolicyMetric, ...PolicyMetric[]]

const limitFields = z.strictObject({
  ...common,
  metric: oneOf(metricNames, 'What is counted.'),
  max: z
    .number()
    .nonnegative({ error: 'is negative' })
    .max(Number.MAX_SAFE_INTEGER)
    .meta({ description: 'The most that is allowed, in the unit of the metric.' }),
  scope: oneOf(scopes, 'Whose use is added up.').default('run'),
  window: oneOf(windows, 'Over which time; `run` for the scope `run`, and to be named for the others.').optional(),
})

/** A limit on what is used. */
export const limitSchema = limitFields
  .superRefine(({ metric, scope, window }, { addIssue }) => {
    const refuse = (path: string, message: string) => addIssue({ code: 'custom', path: [path], message })
    if (metric === 'requests_per_minute') {
      if (window !== undefined && window !== 'minute') refuse('window', 'must be minute for requests_per_minute')
    } else if (scope === 'run') {
      if (window !== undefined && window !== 'run') refuse('window', 'must be run for the scope run')
    } else if (metric === 'wall_clock_seconds') {
      refuse('scope', 'must be run for wall_clock_seconds')
    } else if (window === undefined || window === 'run') {
      refuse('window', `must be minute, hour, day or month for the scope ${scope}`)
    }
  })
  .transform(({ window, ...rest }) => {
    const least: PolicyWindow = rest.metric === 'requests_per_minute' ? 'minute' : 'run'
    return { ...rest, max: rest.max + 0, window: window ?? least } // -0 would not come back from the database
  })

/** A condition, in CEL, that no run may meet. */
export const expressionSchema = z.strictObject({
  ...common,
  when: z
    .string()
    .min(1)
    .max(limits.policyExpressionCharsMax)
    .regex(/^(?:[\t\n\r]|[^\p{Cc}\p{Cs}])*$/u, { error: 'holds a control character or half a character' })
    .meta({ description: 'CEL over the facts of the run and its next step; true where a run breaks the policy.' }),
})

export const documentSchema = z
  .strictObject({
    $schema: z.string().max(limits.policyDescriptionCharsMax).optional().meta({ description: 'For editors.' }),
    policies: z.array(z.union([limitSchema, expressionSchema])).max(limits.policiesPerTenantMax),
  })
  .meta({ title: 'Concordat policies', description: 'Policies of one tenant: limits, and conditions in CEL.' })

/** A limit as it is written; defaults may be left out. */
export type LimitInput = z.input<typeof limitSchema>
export type ExpressionInput = z.input<typeof expressionSchema>
/** A policy as a file or a program gives it: a limit (`metric`, `max`) or a condition (`when`). */
export type PolicyInput = LimitInput | ExpressionInput

export type LimitDefinition = Readonly<z.output<typeof limitSchema>>
export type ExpressionDefinition = Readonly<z.output<typeof expressionSchema>>
/** A policy with all its defaults, as it is stored. */
export type PolicyDefinition = LimitDefinition | ExpressionDefinition

export function isLimit<L extends LimitDefinition, E extends ExpressionDefinition>(policy: L | E): policy is L {
  return 'metric' in policy
}
