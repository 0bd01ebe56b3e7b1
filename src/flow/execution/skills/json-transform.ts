import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { type Context, createContext, Script } from 'node:vm'
import { z } from 'zod'
import { defineSkill, type Skill } from '../../../domains/agents/agents.ts'
import { AppError } from '../../../foundation/app-error.ts'
import { type Json, parseJson } from '../../../foundation/json.ts'

const EXPRESSION_CHARS_MAX = 16_384
const TRANSFORM_MS_MAX = 1_000
const STACK_DEPTH_MAX = 500 // below what overflows V8's own stack
const SEQUENCE_LENGTH_MAX = 100_000

const paramsSchema = z.strictObject({
  /** JSONata: https://docs.jsonata.org */
  expression: z.string().min(1).max(EXPRESSION_CHARS_MAX),
  input: z.custom<Json>().default(null),
})

/**
 * The skill `json_transform`: the value of a JSONata expression on `input`, as plain JSON; null where it is nothing.
 * Fails with `INVALID_PLAN` for an expression that is wrong, which its plan is refused for; or, when it runs, for one that
 * does not fit its input, has a function as its value, or takes longer than a second; it holds the thread for that long.
 */
export function jsonTransformSkill(): Skill {
  const jsonata = boundedJsonata()
  return defineSkill({
    name: 'json_transform',
    params: paramsSchema,
    prepare({ expression, input }) {
      jsonata.parse(expression)
      return { kind: 'tool', options: { sideEffects: false }, run: () => jsonata.transform(expression, input) }
    },
  })
}

const PARSE = `try { jsonata(expression) } catch (thrown) { failure = String(thrown.message) }`

// Values go in and out as text, so that neither side meets an object of the other.
const EVALUATE = `(async () => {
  try {
    const bounds = { stack: ${STACK_DEPTH_MAX}, sequence: ${SEQUENCE_LENGTH_MAX} }
    const value = await jsonata(expression, bounds).evaluate(JSON.parse(input))
    output = JSON.stringify(value) ?? 'null'
  } catch (thrown) {
    failure = String(thrown.message)
  }
})()`

/**
 * JSONata runs in a context of its own, because its own time limit is looked at between its operators only: a regular
 * expression that backtracks would hold the process for as long as it likes. The time limit of `vm` ends that too. What
 * nothing ends is a single native call, as in a `$pad` to hundreds of millions: seconds, until memory refuses.
 */
function boundedJsonata() {
  const require = createRequire(import.meta.url)
  let scripts: { readonly library: Script; readonly parse: Script; readonly evaluate: Script } | undefined
  let context: Context | undefined

  /** What the script leaves in its context, given these globals. */
  const run = (which: 'parse' | 'evaluate', globals: { readonly expression: string; readonly input?: string }) => {
    scripts ??= {
      library: new Script(readFileSync(require.resolve('jsonata'), 'utf8'), { filename: 'jsonata' }),
      parse: new Script(PARSE, { filename: 'json_transform' }),
      evaluate: new Script(EVALUATE, { filename: 'json_transform' }),
    }
    if (!context) {
      context = createContext({}, { microtaskMode: 'afterEvaluate', codeGeneration: { strings: false, wasm: false } })
      scripts.library.runInContext(context)
    }
    Object.assign(context, { ...globals, output: undefined, failure: undefined })
    try {
      scripts[which].runInContext(context, { timeout: TRANSFORM_MS_MAX })
    } catch (cause) {
      context = undefined // it was cut off somewhere
      throw refused(`takes longer than ${TRANSFORM_MS_MAX} ms`, cause)
    }
    return context as { readonly output?: unknown; readonly failure?: string }
  }

  return {
    /** Fails unless it is an expression. */
    parse(expression: string): void {
      const { failure } = run('parse', { expression })
      if (failure !== undefined) throw refused(`is none: ${failure}`)
    },
    transform(expression: string, input: Json): Json {
      const { output, failure } = run('evaluate', { expression, input: JSON.stringify(input) })
      if (typeof output !== 'string') throw refused(`fails: ${failure}`)
      return parseJson(output, 'result of the expression')
    },
  }
}

function refused(why: string, cause?: unknown): AppError {
  return new AppError('INVALID_PLAN', `The JSONata expression ${why}`, {
    hint: 'Try the expression at https://try.jsonata.org with the same input.',
    cause,
  })
}
