/**
 * The bidirectional layer-consistency audit, `npm run blca`: every import of `src` is allowed by the table in
 * layers.ts and enters a folder by its face, every row of the table is used, every file lies on one layer.
 */
import { existsSync, readdirSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { filesMin, layers, openFolders, type Row, reExportsOnly, rows, waysOut } from './layers.ts'
import { readSource, type SourceFile, type SourceImport } from './source-imports.ts'

export type Violation = { at: string; what: string; wayOut: string }

/** Where a file lives: its layer, and the part of it that may import it freely. */
type Place = { layer: string; part: string }

/** Audits the source folder. `files` is the number of files that were read and parsed. */
export function audit(folder: string): { violations: Violation[]; files: number } {
  const onDisk = codeFiles(folder)
  const sources = onDisk.filter((file) => file.endsWith('.ts')).map((file) => readSource(folder, file))
  const scanned = sources.filter(({ errors }) => errors.length === 0)
  const used = new Set<Row>()
  const violations = [
    ...checkCount(scanned, onDisk),
    ...sources.flatMap(checkPlace),
    ...sources.flatMap((source) => checkImports(folder, source, used)),
    ...checkCycles(sources),
    ...checkRows(sources, used),
  ]
  return { violations, files: scanned.length }
}

function codeFiles(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  return names.filter((name) => /\.[cm]?[jt]sx?$/.test(name)).sort()
}

function placesOf(file: string): Place[] {
  return Object.entries(layers).flatMap(([layer, pattern]) => {
    const match = pattern.exec(file)
    return match === null ? [] : [{ layer, part: match[0] }]
  })
}

/** An audit that read too little proves nothing. */
function checkCount(scanned: readonly SourceFile[], onDisk: readonly string[]): Violation[] {
  const unread = onDisk.filter((file) => !scanned.some((source) => source.file === file))
  const violation = (what: string, wayOut: string): Violation[] => [{ at: 'src', what, wayOut }]
  if (unread.length > 0) {
    const what = `holds ${onDisk.length} files, but ${unread.join(', ')} could not be read`
    return violation(what, 'sources are .ts files without syntax errors')
  }
  if (scanned.length >= filesMin) return []
  return violation(`holds only ${scanned.length} files: too few to be true`, 'audit the folder that holds the sources')
}

function checkPlace({ file, reExportsOnly: isList }: SourceFile): Violation[] {
  const violations: Violation[] = []
  const places = placesOf(file)
  if (places.length !== 1) {
    const names = places.map(({ layer }) => layer).join(' and ') || 'no layer'
    const wayOut = 'move it to a folder of the house, or give the new folder a layer in scripts/layers.ts'
    violations.push({ at: `src/${file}`, what: `lies on ${names}`, wayOut })
  }
  if (file === reExportsOnly && !isList) {
    const wayOut = 'move the code to the part that it belongs to and export it from there'
    violations.push({ at: `src/${file}`, what: 'holds more than `export … from`', wayOut })
  }
  return violations
}

function checkImports(folder: string, source: SourceFile, used: Set<Row>): Violation[] {
  return source.imports.flatMap((imported) => {
    const { target } = imported
    if (target === undefined) return []
    const violation = (what: string, wayOut: string): Violation[] => [
      { at: `src/${source.file}:${imported.line}`, what: `imports ${shown(imported)}, ${what}`, wayOut },
    ]
    if (!existsSync(join(folder, target)))
      return violation('which does not exist', 'name the file, with its ending .ts')
    if (target.startsWith('..')) {
      if (source.file.endsWith('.test.ts')) return []
      return violation('outside src', 'the product knows nothing of its tests and scripts')
    }
    const [from] = placesOf(source.file)
    const [to] = placesOf(target)
    if (from === undefined || to === undefined) return [] // reported by checkPlaces
    if (from.part !== to.part) {
      const allowing = rows.filter((row) => covers(row.from, from.layer) && covers(row.to, to.layer))
      for (const row of allowing) used.add(row)
      if (allowing.length === 0) return violation(`but ${from.layer} may not import ${to.layer}`, wayOut(from, to))
    }
    const face = faceToward(source.file, target, to)
    if (face !== target) return violation('past its face', `import src/${face}; what is missing there belongs on it`)
    return []
  })
}

function shown({ target, specifier }: SourceImport): string {
  return target === undefined || target.startsWith('..') ? specifier : `src/${target}`
}

function covers(pattern: string, layer: string): boolean {
  return pattern === '*' || layer === pattern || layer.startsWith(`${pattern}/`)
}

function wayOut(from: Place, to: Place): string {
  const found = waysOut.find((way) => covers(way.from, from.layer) && covers(way.to, to.layer))
  return found?.wayOut ?? ''
}

/** The file by which `importer` may enter: the face of the outermost folder around `target` that it is not in itself. */
function faceToward(importer: string, target: string, { part }: Place): string {
  const folders = dirname(target).split('/')
  for (let depth = 1; depth <= folders.length; depth++) {
    const folder = folders.slice(0, depth).join('/')
    if (folder === '.' || openFolders.includes(folder) || importer.startsWith(`${folder}/`)) continue
    return `${folder}/${basename(folder)}.ts`
  }
  // A part without a folder (config.ts and config-profile.ts) is entered by the file that bears its name.
  return part.endsWith('/') || importer.startsWith(part) ? target : `${part}.ts`
}

/** Each cycle once, where its last import closes it. Imports of types count: they tie the files together as well. */
function checkCycles(sources: readonly SourceFile[]): Violation[] {
  const violations: Violation[] = []
  const byFile = new Map(sources.map((source) => [source.file, source]))
  const done = new Set<string>()
  const visit = (source: SourceFile, path: readonly string[]): void => {
    for (const { target, line } of source.imports) {
      const next = target === undefined ? undefined : byFile.get(target)
      if (next === undefined || done.has(next.file)) continue
      const start = path.indexOf(next.file)
      if (start === -1) {
        visit(next, [...path, next.file])
        continue
      }
      const cycle = [...path.slice(start), next.file].map((file) => `src/${file}`).join(' → ')
      const wayOut = 'move what both need to a file of its own'
      violations.push({ at: `src/${source.file}:${line}`, what: `closes a cycle: ${cycle}`, wayOut })
    }
    done.add(source.file)
  }
  for (const source of sources) if (!done.has(source.file)) visit(source, [source.file])
  return violations
}

/** The other way: a permission that nobody uses is out of date. It counts once there are files on both its ends. */
function checkRows(sources: readonly SourceFile[], used: ReadonlySet<Row>): Violation[] {
  const present = [...new Set(sources.flatMap(({ file }) => placesOf(file).map(({ layer }) => layer)))]
  const exists = ({ from, to }: Row): boolean =>
    present.some((layer) => covers(from, layer) && present.some((other) => other !== layer && covers(to, other)))
  return rows
    .filter((row) => exists(row) && !used.has(row))
    .map(({ from, to }) => ({
      at: 'scripts/layers.ts',
      what: `${from} may import ${to}, but no file does`,
      wayOut: 'remove the row',
    }))
}

if (import.meta.main) {
  const { violations, files } = audit(process.argv[2] ?? fileURLToPath(new URL('../src', import.meta.url)))
  for (const { at, what, wayOut } of violations) console.log(`${at} ${what}\n    way out: ${wayOut}`)
  const count = `${violations.length} violation${violations.length === 1 ? '' : 's'}`
  console.log(`BLCA ${violations.length === 0 ? 'clean' : 'failed'}: ${count}, ${files} files scanned`)
  process.exitCode = violations.length === 0 ? 0 : 1
}
