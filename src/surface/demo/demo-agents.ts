import { dirname } from 'node:path'
import { z } from 'zod'
import { type Agent, defineAgent } from '../../domains/agents/agents.ts'
import { scriptedModel } from '../../flow/execution/execution.ts'
import { codePaths, measureFile, READS, readPackageFile } from './package-files.ts'
import { census, exported, ledger, links } from './reading-agents.ts'

/** Where the demo takes part in what its agents do: the only places that are not work. */
export interface Stage {
  /** Called when the agent `watch` is in the middle of its step. */
  watching(): void
  /** What the agent `survey` waits for in the middle of its work. */
  untilResumed(signal: AbortSignal): Promise<void>
  /** What the agent `tidy` waits for in the middle of its work. */
  untilPolicyChanged(signal: AbortSignal): Promise<void>
}

const LONG_LINES = 250
const server = z.object({ server: z.string() })

/** The agents of the demo. They read this package's own files and call the demo's server. */
export function demoAgents(stage: Stage): Agent[] {
  return [
    census(),
    exported(),
    links(),
    report(),
    summary(),
    flaky(),
    missing(),
    chatty(),
    tidy(stage),
    publish(),
    deploy(),
    watching(stage),
    ledger(),
    survey(stage),
  ]
}

/** A plan: no code at all. */
function report(): Agent {
  const shape = `{ "files": $count(files), "bytes": $sum(files.bytes), "largest": files^(>bytes)[[0..2]].path }`
  return defineAgent({
    name: 'report',
    version: '1',
    input: server,
    plan: {
      steps: [
        { skill: 'http_call', name: 'ask', params: { url: 'http://{{ input.server }}/files' } },
        {
          skill: 'http_call',
          name: 'peek',
          optional: true,
          params: { url: 'http://169.254.169.254/latest/meta-data/' },
        },
        { skill: 'json_transform', name: 'shape', params: { input: '{{ steps.ask.output.body }}', expression: shape } },
        { skill: 'wait', params: { ms: 20 } },
        {
          skill: 'http_call',
          name: 'post',
          params: { method: 'POST', url: 'http://{{ input.server }}/reports', body: '{{ steps.shape.output }}' },
        },
      ],
    },
  })
}

function summary(): Agent {
  const model = scriptedModel([{ reply: 'Runs of agents end in one commit that holds their whole footprint.' }])
  return defineAgent({
    name: 'summary',
    version: '1',
    async run({ step }) {
      const described = await step.do(
        'read the description',
        async () => JSON.parse(await readPackageFile('package.json')).description as string,
        READS,
      )
      const { text } = await step.llm('summarise', { model, prompt: `Say it in a dozen words: ${described}` })
      return { text, model: model.modelId }
    },
  })
}

function flaky(): Agent {
  return defineAgent({
    name: 'flaky',
    version: '1',
    input: server,
    async run({ input, step }) {
      const options = { tool: 'http_call', retry: { maxAttempts: 5, baseMs: 50 } }
      const answer = await step.tool<{ body: { asked: number } }>(
        'ask',
        { url: `http://${input.server}/flaky` },
        options,
      )
      return { tries: answer.body.asked }
    },
  })
}

function missing(): Agent {
  return defineAgent({
    name: 'missing',
    version: '1',
    run: ({ step }) =>
      step.do('read the plans', () => readPackageFile('PLANS-FOR-NEXT-CENTURY.md'), {
        ...READS,
        retry: { maxAttempts: 1 },
      }),
  })
}

function chatty(): Agent {
  return defineAgent({
    name: 'chatty',
    version: '1',
    async run({ step }) {
      for (const path of (await step.do('list the code', codePaths, READS)).slice(0, 5)) {
        await step.do(`talk about ${path}`, () => measureFile(path), READS)
      }
      return 'far too much'
    },
  })
}

/** Its policy changes in the middle of its second step. */
function tidy(stage: Stage): Agent {
  return defineAgent({
    name: 'tidy',
    version: '1',
    async run({ step }) {
      const paths = await step.do('list the code', codePaths, READS)
      const files = await step.do(
        'measure its files',
        async ({ signal }) => {
          await stage.untilPolicyChanged(signal)
          return Promise.all(paths.map(measureFile))
        },
        READS,
      )
      return step.do('find the long ones', () => files.filter(({ lines }) => lines > LONG_LINES).length, READS)
    },
  })
}

/** Asks before it acts. */
function publish(): Agent {
  return defineAgent({
    name: 'publish',
    version: '1',
    async run({ step }) {
      const version = await step.do(
        'read the version',
        async () => JSON.parse(await readPackageFile('package.json')).version as string,
        READS,
      )
      const approval = { message: `Announce version ${version}?` }
      return step.do('announce', () => `version ${version} is out`, { approval })
    },
  })
}

/** Nobody lets it. */
function deploy(): Agent {
  return defineAgent({ name: 'deploy', version: '1', run: ({ step }) => step.do('deploy', () => 'never reached') })
}

/** Looks at the code again and again, until it is stopped. */
function watching(stage: Stage): Agent {
  return defineAgent({
    name: 'watch',
    version: '1',
    async run({ step }) {
      await step.do('watch the code', async ({ signal }) => {
        stage.watching()
        while (!signal.aborted) await Promise.all((await codePaths()).map(measureFile))
      })
    },
  })
}

function survey(stage: Stage): Agent {
  return defineAgent({
    name: 'survey',
    version: '1',
    async run({ step }) {
      const paths = await step.do('list the code', codePaths, READS)
      const folders = await step.do('count its folders', () => new Set(paths.map((path) => dirname(path))).size, READS)
      const files = await step.do(
        'measure its files',
        async ({ signal }) => {
          await stage.untilResumed(signal)
          return Promise.all(paths.map(measureFile))
        },
        READS,
      )
      return { folders, longest: files.toSorted((a, b) => b.lines - a.lines)[0]?.path ?? null }
    },
  })
}
