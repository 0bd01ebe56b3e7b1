import { hash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Agent, defineAgent } from '../../domains/agents/agents.ts'
import {
  CODE_ROOT,
  codePaths,
  documentPaths,
  measureFile,
  PACKAGE_ROOT,
  type PackageFile,
  READS,
  readPackageFile,
} from './package-files.ts'

const FOLDERS_MAX = 8
const DOCUMENTS_MAX = 20

export function census(): Agent {
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

export function exported(): Agent {
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

export function links(): Agent {
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

export function ledger(): Agent {
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
