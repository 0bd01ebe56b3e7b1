import { hash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { type Agent, defineAgent } from '../../domains/agents/agents.ts'
import { scriptedModel } from '../../flow/execution/execution.ts'
import {
  CODE_ROOT,
  codePaths,
  documentPaths,
  measureFile,
  PACKAGE_ROOT,
  type PackageFile,
  readPackageFile,
} from './package-files.ts'

/** Where the demo takes part in what its agents do: the only places that are not work. */
export interface Stage {
  /** Called when the agent `watch` is in the middle of its step. */
  watching(): void
  /** What the agent `survey` waits for in the middle of its work. */
  untilResumed(signal: AbortSignal): Promise<void>
}

/** Reading may simply happen again after a crash. */
const READS = { sideEffects: false } as const
const FOLDERS_MAX = 8
const DOCUMENTS_MAX = 20
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
    deploy(),
    watching(stage),
    ledger(),
    survey(stage),
  ]
}

function census(): Agent {
  return defineAgent({
    name: 'census',
    version: '1',
    async run({ step }) {
      const paths = await step.do('list the code', codePaths, READS)
      const folders = Map.groupBy(paths, (path) => path.split('/').slice(0, 2).join('/'))
      const counted: PackageFile[] = []
      for (const [folder, own] of [...folders].slice(0, FOLDERS_MAX)) {
        counted.push(...(await step.do(`count ${folder}`, () => Promise.all(own.map(measureFile)), READS)))
      }
      const sum = (field: 'lines' | 'words') => counted.reduce((total, file) => total + file[field], 0)
      return { files: counted.length, lines: sum('lines'), words: sum('words') }
    },
  })
}

function exported(): Agent {
  return defineAgent({
    name: 'exports',
    version: '1',
    async run({ step }) {
      const path = await step.do(
        'find the index',
        async () => (await codePaths()).find((path) => /\/index\.(ts|js)$/.test(path)),
        READS,
      )
      const index = await step.do('read the index', () => readPackageFile(path ?? ''), READS)
      const parts = [...index.matchAll(/from '(.+?)'/g)].map(([, target]) => target ?? '')
      const missing = await step.do(
        'look for what it exports',
        () => parts.filter((part) => !existsSync(join(CODE_ROOT, part))),
        READS,
      )
      return { parts: parts.length, missing }
    },
  })
}

function links(): Agent {
  return defineAgent({
    name: 'links',
    version: '1',
    async run({ step }) {
      const pages = await step.do('list the documents', documentPaths, READS)
      const broken: string[] = []
      let links = 0
      for (const page of pages.slice(0, DOCUMENTS_MAX)) {
        const found = await step.do(`follow the links of ${page}`, () => followLinks(page), READS)
        links += found.links
        broken.push(...found.broken)
      }
      return { documents: pages.length, links, broken }
    },
  })
}

async function followLinks(page: string): Promise<{ links: number; broken: string[] }> {
  const text = await readPackageFile(page)
  const targets = [...text.matchAll(/\]\((?!\w+:|#)([^)#\s]+)/g)].map(([, target]) => target ?? '')
  return {
    links: targets.length,
    broken: targets.filter((target) => !existsSync(join(PACKAGE_ROOT, dirname(page), target))),
  }
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

function ledger(): Agent {
  return defineAgent({
    name: 'ledger',
    version: '1',
    run: ({ step }) =>
      step.do(
        'seal package.json',
        async () => ({ sha256: hash('sha256', await readPackageFile('package.json')) }),
        READS,
      ),
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
