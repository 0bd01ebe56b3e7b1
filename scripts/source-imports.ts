import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseSync, Visitor } from 'oxc-parser'

export type SourceImport = {
  line: number
  /** As written: `../storage/storage.ts`, `node:fs`, `pg`. */
  specifier: string
  /** The path below the source folder; undefined for a package. It may lead outside (`../test/…`) or nowhere. */
  target: string | undefined
}

/** `file` and the imports' targets are paths below the source folder, with slashes. */
export type SourceFile = { file: string; imports: SourceImport[]; reExportsOnly: boolean; errors: string[] }

type Literal = { type: string; value?: unknown; start: number }

/** Reads every import of a file: static, type-only, re-exported, dynamic and `import('…')` types. */
export function readSource(folder: string, file: string): SourceFile {
  const text = readFileSync(join(folder, file), 'utf8')
  const { program, errors } = parseSync(file, text)
  const imports: SourceImport[] = []
  const found = (source: Literal | null): void => {
    if (source === null || typeof source.value !== 'string') return
    const isRelative = source.value.startsWith('.')
    imports.push({
      line: text.slice(0, source.start).split('\n').length,
      specifier: source.value,
      target: isRelative ? join(dirname(file), source.value) : undefined,
    })
  }
  new Visitor({
    ImportDeclaration: ({ source }) => found(source),
    ExportNamedDeclaration: ({ source }) => found(source),
    ExportAllDeclaration: ({ source }) => found(source),
    ImportExpression: ({ source }) => found(source),
    TSImportType: ({ source }) => found(source),
  }).visit(program)
  const reExportsOnly = program.body.every(
    (statement) => statement.type.startsWith('Export') && 'source' in statement && statement.source !== null,
  )
  return { file, imports, reExportsOnly, errors: errors.map(({ message }) => message) }
}
