import { readdirSync, readFileSync } from 'node:fs'
import { vi } from 'vitest'

const SOURCE = new URL('../../src/', import.meta.url)

/** Every SQL statement that has a name, by its name: what the modules that name any name when they are loaded. */
export async function namedStatements(): Promise<ReadonlyMap<string, string>> {
  const statements = new Map<string, string>()
  vi.resetModules()
  vi.doMock('../../src/foundation/storage/database.ts', async (original) => {
    const database = await original<typeof import('../../src/foundation/storage/database.ts')>()
    const statement: typeof database.statement = (name, text) => {
      statements.set(name, text)
      return database.statement(name, text)
    }
    return { ...database, statement }
  })
  for (const file of filesWithStatements()) await import(new URL(file, SOURCE).href)
  vi.doUnmock('../../src/foundation/storage/database.ts')
  vi.resetModules()
  return statements
}

function filesWithStatements(): string[] {
  return readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    .filter((file) => readFileSync(new URL(file, SOURCE), 'utf8').includes(' = statement('))
}
