import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url))

export type Page = { path: string; text: string }

/** The pages that people read: README, CHANGELOG and all of docs. */
export function pages(): Page[] {
  const docs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.md'),
  )
  const paths = ['README.md', 'CHANGELOG.md', ...docs.map((file) => `docs/${file}`).sort()]
  return paths.map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }))
}

export function page(path: string): Page {
  return { path, text: readFileSync(join(root, path), 'utf8') }
}

export type CodeBlock = { language: string; text: string }

export function codeBlocks({ text }: Page, language?: string): CodeBlock[] {
  const blocks = [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, name = '', code = '']) => {
    return { language: name, text: code }
  })
  return language === undefined ? blocks : blocks.filter((block) => block.language === language)
}

/** Text without code blocks, where links and inline code are what they look like. */
function prose({ text }: Page): string {
  return text.replace(/^```[\s\S]*?^```$/gm, '')
}

/** The targets of all links, as written. */
export function links(page: Page): string[] {
  return [...prose(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target)
}

/** The anchors of a page's headings, as GitHub makes them. */
export function anchors(page: Page): string[] {
  return [...prose(page).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => {
    return heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\- _]/gu, '')
      .replaceAll(' ', '-')
  })
}

/** What stands in backticks. */
export function inlineCode(page: Page): string[] {
  return [...prose(page).matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code)
}
