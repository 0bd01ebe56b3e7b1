import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { validatePlan } from '../src/domains/agents/agents.ts'
import { builtInSkills } from '../src/flow/execution/execution.ts'
import { copyEmbeddedInto } from './support/embedded.ts'
import { createProject, type Project } from './support/installed-package.ts'
import { codeBlocks, page, pages } from './support/markdown.ts'

/** Each page's programs in a folder of their own; one that begins with `// some.file.ts` is that file. */
const snippets = pages().flatMap((each) => {
  const folder = each.path.replace(/\W+/g, '-')
  return codeBlocks(each, 'ts').map(({ text }, index) => {
    const file = /^\/\/ ([\w.-]+\.ts)\n/.exec(text)?.[1] ?? `snippet-${index + 1}.ts`
    return { page: each.path, file: `${folder}/${file}`, text }
  })
})
const plans = pages().flatMap((each) => codeBlocks(each, 'json').map(({ text }) => ({ page: each.path, text })))
const isProgram = ({ text }: { text: string }) => /^await /m.test(text)

const env = { GOVERNANCE_PROFILE: 'STRICT', LOG_LEVEL: 'warn' }
const clean = { code: 0, stderr: '' }

let project: Project
beforeAll(async () => {
  project = createProject()
  for (const { file, text } of snippets) project.write(file, text)
  await copyEmbeddedInto(project.folder) // all of them use it
})
afterAll(() => project.remove())

describe('what README and docs show', () => {
  it('is typed as strictly as this package', () => {
    expect(project.typeCheck()).toMatchObject({ code: 0, stdout: '' })
  })

  it.each(snippets.filter(isProgram))('runs to its end: $file', async ({ file }) => {
    expect(await project.node([file], env)).toMatchObject(clean)
  })

  it('can be loaded: all configurations', async () => {
    const files = snippets.filter((snippet) => !isProgram(snippet)).map(({ file }) => file)
    const script = files.map((file) => `await import(${JSON.stringify(`./${file}`)})`).join('\n')
    expect(files.length).toBeGreaterThan(0)
    expect(await project.node(['--input-type=module', '-e', script], env)).toMatchObject(clean)
  })

  it.each(plans)('is a valid plan, in $page', ({ text }) => {
    const skills = new Map(builtInSkills().map((skill) => [skill.name, skill]))
    expect(() => validatePlan(JSON.parse(text), skills)).not.toThrow()
  })
})

describe('the five minutes of README', () => {
  it('lead from the installed package to a run with its whole footprint', async () => {
    let runId = ''
    let last: unknown
    for (const words of commandsOfFiveMinutes()) {
      const args = [
        ...words.map((word) => word.replace('RUN', runId)),
        '--config',
        'README-md/concordat.config.ts',
        '--json',
      ]
      const finished = await project.concordat(args, env)
      expect(finished, args.join(' ')).toMatchObject(clean)
      runId ||= JSON.parse(finished.stdout).runId
      if (words[1] === 'get') last = JSON.parse(finished.stdout)
    }
    expect(last).toMatchObject({ status: 'succeeded', incident: { outcome: 'SUCCESS' }, trace: { ending: 'COMPLETE' } })
  })
})

/** The commands of the section that need no server, as words. */
function commandsOfFiveMinutes(): string[][] {
  const { path, text } = page('README.md')
  const section = text.slice(text.indexOf('## Five minutes'), text.indexOf('## PostgreSQL'))
  const lines = codeBlocks({ path, text: section }, 'sh').flatMap((block) => block.text.split('\n'))
  return lines
    .filter((line) => line.startsWith('npx concordat '))
    .map((line) => line.replace(/\s+#.*$/, '').slice('npx concordat '.length))
    .map((line) => (line.match(/'[^']*'|\S+/g) ?? []).map((word) => word.replace(/^'|'$/g, '')))
}
