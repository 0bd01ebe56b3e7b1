/**
 * Writes what the docs say of the code's own tables, so that they can't lie: the reference pages, the policies' JSON
 * Schema, and the marked parts of docs/ARCHITECTURE.md. With --check nothing is written, and the exit code is 1 when a page differs.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { eventsReference } from '../src/foundation/events/events.ts'
import { withParts } from './architecture-parts.ts'
import { policiesPage, policiesSchema } from './policies-page.ts'
import { configurationPage, errorsPage } from './reference-pages.ts'

const folder = join(import.meta.dirname, '../docs')
const pages: Readonly<Record<string, (written: string) => string>> = {
  'reference/errors.md': errorsPage,
  'reference/events.md': eventsReference,
  'reference/configuration.md': configurationPage,
  'reference/policies.md': policiesPage,
  'reference/policies.schema.json': policiesSchema,
  'ARCHITECTURE.md': withParts,
}

/** The pages that are not what the code says now, with what they should be. */
export function outdatedPages(): { page: string; text: string }[] {
  return Object.entries(pages).flatMap(([page, make]) => {
    const written = readPage(page)
    const text = make(written)
    return text === written ? [] : [{ page, text }]
  })
}

function readPage(page: string): string {
  try {
    return readFileSync(join(folder, page), 'utf8')
  } catch {
    return ''
  }
}

if (import.meta.main) {
  const outdated = outdatedPages()
  if (process.argv.includes('--check')) {
    for (const { page } of outdated) process.stderr.write(`docs/${page} differs from the code: npm run docs\n`)
    process.exitCode = outdated.length === 0 ? 0 : 1
  } else {
    for (const { page, text } of outdated) writeFileSync(join(folder, page), text)
    process.stdout.write(`${outdated.length} of ${Object.keys(pages).length} pages written\n`)
  }
}
