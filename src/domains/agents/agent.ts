import { hash } from 'node:crypto'
import type { z } from 'zod'
import { AppError } from '../../foundation/app-error.ts'
import type { Json, JsonObject } from '../../foundation/json.ts'
import { canonicalJson } from '../../foundation/payload-codec.ts'
import { checkName } from './names.ts'
import { type Plan, type PlanDefinition, parsePlan } from './plan.ts'
import { jsonSchemaOf, parseWith } from './schema-check.ts'
import type { Secrets, SkillContext } from './skill.ts'
import type { StepApi } from './step-api.ts'

/** What an agent's code gets. */
export interface AgentContext<Input = Json> {
  readonly input: Input
  readonly step: StepApi
  /** Aborts when the run is stopped, reaches its deadline, is suspended, or its worker loses the lease. */
  readonly signal: AbortSignal
  readonly secrets: Secrets
  readonly run: { readonly runId: string; readonly tenantId: string; readonly metadata: Json }
}

/** A tool of an agent, for `step.tool`. The type of a method, so that it may name the shape of its input. */
export type ToolFunction = { run(input: Json, context: SkillContext): unknown }['run']

interface AgentDefinition<Input> {
  readonly name: string
  readonly version: string
  /** What the run's input must fit; anything where it is left out. Runs synchronously. */
  readonly input?: z.ZodType<Input>
  /** Runs at the same time per tenant, across all workers; no bound where it is left out. */
  readonly maxRunning?: number
  /** The deadline of a run; default RUN_TIMEOUT_SECONDS. */
  readonly timeoutSeconds?: number
}

export interface CodeAgentDefinition<Input> extends AgentDefinition<Input> {
  /** Runs again from the top on resume: keep what is between steps deterministic. What it returns is the run's output. */
  run(context: AgentContext<Input>): unknown
  readonly tools?: Readonly<Record<string, ToolFunction>>
}

export interface PlanAgentDefinition extends AgentDefinition<unknown> {
  readonly plan: PlanDefinition
}

interface AgentBase {
  readonly name: string
  readonly version: string
  /**
   * SHA-256 in hex over what others rely on: kind, name, version, input schema, plan. Not over the code: the same
   * function has another text once it is compiled, and a worker from source must match one from a build.
   */
  readonly digest: string
  /** JSON Schema of the input; null where anything is accepted. */
  readonly inputSchema: JsonObject | null
  readonly maxRunning: number | null
  readonly timeoutSeconds: number | null
  /** Returns the input unchanged if it fits. Fails with `INVALID_INPUT`, naming every wrong field. */
  validateInput(input: unknown): Json
}

export interface CodeAgent extends AgentBase {
  readonly kind: 'code'
  readonly tools: ReadonlyMap<string, ToolFunction>
  /** Runs the code on an input as it is stored; the code gets it as the schema makes it, defaults filled in. */
  run(context: AgentContext): Promise<unknown>
}

export interface PlanAgent extends AgentBase {
  readonly kind: 'plan'
  readonly plan: Plan
}

export type Agent = CodeAgent | PlanAgent

/**
 * Returns an agent, to be listed in the configuration. Fails with `INVALID_INPUT` for a bad name, version or bound, and
 * as `parsePlan` does for a plan; a plan's skills are checked when the agent is registered.
 *
 *     const greeter = defineAgent({
 *       name: 'greeter',
 *       version: '1',
 *       input: z.object({ name: z.string() }),
 *       run: ({ input, step }) => step.do('greet', () => `Hello, ${input.name}!`),
 *     })
 */
export function defineAgent<Input = Json>(definition: CodeAgentDefinition<Input>): CodeAgent
export function defineAgent(definition: PlanAgentDefinition): PlanAgent
export function defineAgent<Input>(definition: CodeAgentDefinition<Input> | PlanAgentDefinition): Agent {
  if ('plan' in definition) {
    const plan = parsePlan(definition.plan)
    return Object.freeze({ ...agentBase('plan', definition, plan), kind: 'plan', plan })
  }
  const { input: schema, tools = {} } = definition
  const base = agentBase('code', definition, null)
  return Object.freeze({
    ...base,
    kind: 'code',
    tools: new Map(Object.entries(tools)),
    async run(context: AgentContext) {
      const input = schema ? parseInput(schema, context.input, base.name) : (context.input as Input)
      const { step, secrets, run } = context
      // The signal is handed on unread: making it for an agent that never asks costs more than a step.
      return definition.run({
        input,
        step,
        secrets,
        run,
        get signal() {
          return context.signal
        },
      })
    },
  })
}

function agentBase(kind: Agent['kind'], definition: AgentDefinition<unknown>, plan: Plan | null): AgentBase {
  const name = checkName('agent name', definition.name)
  const version = checkName('agent version', definition.version)
  const { input: schema } = definition
  const inputSchema = schema ? jsonSchemaOf(schema) : null
  return {
    name,
    version,
    digest: hash('sha256', canonicalJson({ kind, name, version, inputSchema, plan: plan as Json })),
    inputSchema,
    maxRunning: positiveInteger('maxRunning', definition.maxRunning),
    timeoutSeconds: positiveInteger('timeoutSeconds', definition.timeoutSeconds),
    validateInput(input) {
      if (schema) parseInput(schema, input, name)
      return input as Json
    },
  }
}

function parseInput<Input>(schema: z.ZodType<Input>, input: unknown, agent: string): Input {
  return parseWith(schema, input, { code: 'INVALID_INPUT', what: `input of agent ${agent}` })
}

function positiveInteger(what: string, value: number | undefined): number | null {
  if (value === undefined) return null
  if (Number.isInteger(value) && value > 0 && value <= 2_147_483_647) return value
  throw new AppError('INVALID_INPUT', `${what} is ${value}, but must be an integer from 1 to 2147483647`)
}
