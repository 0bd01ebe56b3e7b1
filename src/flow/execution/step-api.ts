import type {
  Agent,
  AgentDirectory,
  ApprovalDecision,
  ApprovalOptions,
  ChildOptions,
  LlmRequest,
  LlmResult,
  RecordedStep,
  SignalSchemas,
  SkillContext,
  StepApi,
  StepContext,
  StepOptions,
  ToolOptions,
  WaitOptions,
} from '../../domains/agents/agents.ts'
import { AppError } from '../../foundation/app-error.ts'
import type { Json } from '../../foundation/json.ts'
import { costOf, type Prices } from './prices.ts'
import { callModel } from './skills/skills.ts'
import {
  checkApproval,
  checkChild,
  checkLlmRequest,
  checkOptions,
  checkRecordedStep,
  checkWork,
} from './step-arguments.ts'
import { estimatedBound, knownBound } from './step-bound.ts'
import type { StepExecutor } from './step-executor.ts'
import {
  approvalAsk,
  DURATION_MS_MAX,
  isDuration,
  recordedResult,
  retryOf,
  specOptions,
  waitTimeoutMs,
} from './step-spec.ts'

export interface StepApiOptions {
  readonly agent: Agent
  readonly directory: AgentDirectory
  readonly executor: StepExecutor
  readonly prices: Prices
  readonly schemas: SignalSchemas
}

/** The steps that an agent's code sees: each is one spec for the executor. */
export function createStepApi({ agent, directory, executor, prices, schemas }: StepApiOptions): StepApi {
  return {
    async do<T>(name: string, work: (context: StepContext) => T | Promise<T>, options?: StepOptions): Promise<T> {
      checkWork(name, work)
      checkOptions(name, options)
      const execute = (context: StepContext) => output(work(context))
      return executor.run({ kind: 'do', name, input: null, ...specOptions(options), execute }) as Promise<T>
    },

    async tool<T>(name: string, input: Json, toolOptions?: ToolOptions): Promise<T> {
      checkOptions(name, toolOptions)
      const { tool = name, ...options } = toolOptions ?? {}
      const call = directory.toolCall(agent, tool, input)
      const execute = (context: SkillContext) => output(call.run(context))
      return executor.run({
        kind: 'tool',
        name,
        tool,
        input,
        ...specOptions({ ...call.options, ...options }),
        execute,
      }) as Promise<T>
    },

    async llm(name: string, request: LlmRequest, options?: StepOptions): Promise<LlmResult> {
      checkLlmRequest(name, request)
      checkOptions(name, options)
      const { model, ...asked } = request
      const input = { model: model.modelId, ...asked }
      const execute = async ({ signal }: StepContext) => {
        const call = await callModel(model, request, { signal })
        return { output: call.result, tokensIn: call.tokensIn, tokensOut: call.tokensOut, ...costOf(call, prices) }
      }
      // A model call can run again: what it said the first time, nobody has acted upon.
      return executor.run({
        kind: 'llm',
        name,
        input,
        ...specOptions(options, false),
        estimate: () => estimatedBound(request, prices),
        execute,
      }) as unknown as Promise<LlmResult>
    },

    async sleep(name: string, ms: number): Promise<void> {
      if (!isDuration(ms)) throw new AppError('INVALID_REQUEST', `a sleep lasts 0 to ${DURATION_MS_MAX} ms, not ${ms}`)
      const execute = () => ({ output: null })
      await executor.run({
        kind: 'sleep',
        name,
        input: { ms },
        sideEffects: false,
        retry: retryOf(),
        sleepMs: ms,
        execute,
      })
    },

    async waitFor<T>(name: string, options: WaitOptions<T> = {}): Promise<T> {
      checkOptions(name, options)
      const timeoutMs = waitTimeoutMs(name, options.timeout)
      const schema = schemas.read(name, options.schema)
      const payload = await executor.run({
        kind: 'signal',
        name,
        input: { timeoutMs },
        sideEffects: false,
        retry: retryOf(),
        signal: { timeoutMs, schema: schema.json, check: schema.parse },
        execute: () => ({ output: null }),
      })
      return schema.parse(payload)
    },

    async run<T>(agent: string, input: Json = null, options: ChildOptions = {}): Promise<T> {
      const { name = agent, version } = checkChild(agent, options)
      const child = { agent, version, input }
      const spec = { kind: 'run', name, input: { agent, version: version ?? null, input } } as const
      const execute = () => ({ output: null })
      return executor.run({ ...spec, sideEffects: false, retry: retryOf(), child, execute }) as Promise<T>
    },

    async approval(name: string, options: ApprovalOptions): Promise<ApprovalDecision> {
      checkApproval(name, options)
      const { action = null } = options
      const decision = await executor.run({
        kind: 'approval',
        name,
        input: action,
        sideEffects: false,
        retry: retryOf(),
        approval: { ...approvalAsk(options), action: undefined }, // it is the step's input
        execute: () => ({ output: null }),
      })
      return decision as unknown as ApprovalDecision
    },

    async record(step: RecordedStep): Promise<Json> {
      checkRecordedStep(step)
      const { kind, name, input } = step
      const result = recordedResult(step)
      const execute = () => result
      const estimate = () => knownBound(result)
      const tool = kind === 'tool' ? name : ''
      return executor.run({
        kind,
        name,
        tool,
        input,
        sideEffects: false,
        retry: retryOf(),
        keepsError: true,
        estimate,
        execute,
      })
    },
  }
}

/** Waits only for what is a promise: a step that answers at once costs no turn. */
function output(value: unknown): { output: unknown } | Promise<{ output: unknown }> {
  return isThenable(value) ? Promise.resolve(value).then((resolved) => ({ output: resolved })) : { output: value }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null)?.then === 'function'
}
