import { Composer, isAlias, isMap, isScalar, isSeq, Lexer, LineCounter, type Node, Parser, Scalar } from 'yaml'
import { limits } from '../../limits.ts'
import { jsonBreak } from './strict-json.ts'

/** What is wrong with a file, as offsets in characters. */
export interface Misfit {
  readonly start: number
  readonly end: number
  readonly message: string
  readonly hint: string
}

/** A value with its place and those of its parts: of a map by key, of a list by index. */
export interface Placed {
  readonly value: unknown
  readonly node: Node
  /** The key that leads here. */
  readonly key?: Node
  readonly parts: ReadonlyMap<string | number, Placed>
}

export interface PlacedYaml {
  /** Null when there are misfits. */
  readonly root: Placed | null
  readonly misfits: readonly Misfit[]
  readonly lines: LineCounter
}

const PLAIN_YAML = 'Write plain YAML or JSON: lists, maps, texts, numbers.'

export type PolicyFormat = 'yaml' | 'json'

/** Pure. Reads YAML, or JSON, which is YAML, of at most 131,072 bytes; as `json` nothing but that. Never throws. */
export function readYaml(text: string, format: PolicyFormat = 'yaml'): PlacedYaml {
  const lines = new LineCounter()
  const misfits: Misfit[] = []
  const node = compose(text, format, lines, misfits)
  const root = node && misfits.length === 0 ? place(node, misfits) : null
  return { root: misfits.length === 0 ? root : null, misfits, lines }
}

/**
 * The file's one document. Depth is bounded before the composer sees it, since that recurses; keys that are there twice
 * are found afterwards, since its own search takes the square of their number.
 */
function compose(text: string, format: PolicyFormat, lines: LineCounter, misfits: Misfit[]): Node | null {
  const refuse = (start: number, end: number, message: string, hint = PLAIN_YAML) => {
    misfits.push({ start, end, message, hint })
    return null
  }
  if (Buffer.byteLength(text) > limits.policyFileBytesMax) {
    return refuse(0, 1, `the file has more than ${limits.policyFileBytesMax} bytes`, 'Write less, or fewer policies.')
  }
  lines.addNewLine(0)
  const parser = new Parser(lines.addNewLine)
  const tokens = []
  for (const lexeme of new Lexer().lex(text)) {
    for (const token of parser.next(lexeme)) tokens.push(token)
    if (parser.stack.length > limits.policyFileDepthMax) {
      return refuse(parser.offset, parser.offset + 1, `there are more than ${limits.policyFileDepthMax} levels`)
    }
  }
  for (const token of parser.end()) tokens.push(token)
  const wrong = format === 'json' ? jsonBreak(text) : null
  if (wrong)
    return refuse(wrong.start, wrong.end, `not JSON: expected ${wrong.expected}`, 'Name the file .yaml for YAML.')
  const [document, another] = new Composer({ uniqueKeys: false }).compose(tokens)
  if (!document?.contents) return refuse(0, 1, 'the file is empty', 'It holds a list: policies.')
  if (another) return refuse(another.range[0], another.range[0] + 1, 'there is a second document', 'A file has one.')
  for (const { pos, code, message } of [...document.errors, ...document.warnings].slice(0, 1)) {
    const [, bracket] = /end with a ([\]}])/.exec(message) ?? []
    const [told, hint = PLAIN_YAML] = bracket
      ? [`${bracket} is missing`, 'Close each bracket that is open.']
      : (YAML_WORDS[code] ?? [`no YAML: ${message}`])
    refuse(pos[0], pos[1], told, hint)
  }
  return document.contents
}

const INDENT = 'What belongs to one map or list begins in the same column, indented by blanks.'

/** What is wrong, and a hint, for errors that the library names in words of its own. */
const YAML_WORDS: Readonly<Record<string, readonly [string, string?]>> = {
  TAB_AS_INDENT: ['a tab can’t indent', 'Indent by blanks.'],
  BAD_INDENT: ['it is not indented as what it belongs to', INDENT],
  BLOCK_AS_IMPLICIT_KEY: ['a map or list can’t begin here', INDENT],
  MULTILINE_IMPLICIT_KEY: ['a key and its colon are missing, or the next line is indented too far', INDENT],
  TAG_RESOLVE_FAILED: ['tags are not allowed'],
  BAD_SCALAR_START: ['a text can’t begin with this character', 'Put it in quotes.'],
  BAD_DQ_ESCAPE: ['there is no such escape', 'Write \\\\ for a backslash, or use single quotes.'],
}

/** The node as plain data. What JSON doesn't have is refused: an alias grows what is read, a key twice hides a value. */
function place(node: unknown, misfits: Misfit[], key?: Node): Placed | null {
  const here = { node: node as Node, ...(key && { key }) }
  const refuse = (where: Node, message: string, hint = PLAIN_YAML) => {
    const [start, end] = rangeOf(where)
    misfits.push({ start, end, message, hint })
    return null
  }
  if (isAlias(node)) return refuse(node, 'aliases are not allowed')
  if (isScalar(node)) return { ...here, value: node.value, parts: new Map() }
  const parts = new Map<string | number, Placed>()
  const add = (at: string | number, part: Placed | null) => part && parts.set(at, part)
  if (isSeq(node)) {
    for (const [index, item] of node.items.entries()) add(index, place(item, misfits))
    return { ...here, value: Array.from(parts.values(), ({ value }) => value), parts }
  }
  if (!isMap(node)) return null
  for (const pair of node.items) {
    if (!isScalar(pair.key)) return refuse(node, 'a key must be a text')
    const name = String(pair.key.value)
    if (parts.has(name)) refuse(pair.key, `the key ${JSON.stringify(name)} is there twice`, 'Remove one of them.')
    add(name, place(pair.value ?? new Scalar(null), misfits, pair.key))
  }
  return { ...here, value: Object.fromEntries(Array.from(parts, ([name, { value }]) => [name, value])), parts }
}

export function rangeOf({ range }: Node): [start: number, end: number] {
  return [range?.[0] ?? 0, range?.[1] ?? 1]
}

/** Where a character of a text stands in the file; null where the file writes it otherwise, escaped or folded. */
export function offsetWithin({ node }: Placed, text: string, offset: number): number | null {
  if (!isScalar(node) || typeof node.value !== 'string') return null
  const [start, end] = rangeOf(node)
  const quote = /^["']/.test(text.slice(start, end)) ? 1 : 0
  if (text.slice(start + quote, end - quote) === node.value) return start + quote + offset
  if (node.type !== Scalar.BLOCK_LITERAL) return null
  const before = node.value.slice(0, offset).split('\n')
  const valueLine = node.value.split('\n')[before.length - 1] ?? ''
  // A literal block begins below its sign, each line of the text indented on a line of its own.
  let lineStart = text.indexOf('\n', start) + 1
  for (let line = 1; line < before.length; line++) lineStart = text.indexOf('\n', lineStart) + 1
  const [line = ''] = text.slice(lineStart, end).split(/\r?\n/, 1)
  return line.endsWith(valueLine) ? lineStart + line.length - valueLine.length + (before.at(-1) ?? '').length : null
}
