/** Where a text stops being JSON. */
export interface JsonBreak {
  readonly start: number
  readonly end: number
  /** What must stand there. */
  readonly expected: string
}

const SPACE = /[ \t\r\n]*/y
const TOKEN =
  /[{}[\]:,]|"(?:[ !#-[\]-\uffff]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y

const EXPECTED = {
  value: 'a value',
  first: 'a value or ]',
  key: 'a key in double quotes',
  firstKey: 'a key in double quotes or }',
  colon: 'a colon',
  next: 'a comma or the end of the list or map',
  end: 'nothing more',
} as const
type State = keyof typeof EXPECTED

/** Null: the text is JSON (RFC 8259). Positions are told, which JSON.parse does only of some errors. */
export function jsonBreak(text: string): JsonBreak | null {
  const open: string[] = []
  let state: State = 'value'
  for (let at = matchAt(SPACE, text, 0).length; ; ) {
    const token = matchAt(TOKEN, text, at)
    const next = after(state, token, open)
    if (next === null) {
      if (state === 'end' && at === text.length) return null
      return { start: at, end: at + Math.max(1, token.length), expected: EXPECTED[state] }
    }
    state = next
    at += token.length
    at += matchAt(SPACE, text, at).length
  }
}

/** What may follow; null where the token may not stand. Keeps `open`: the brackets that are to be closed. */
function after(state: State, token: string, open: string[]): State | null {
  const left = (): State => (open.length > 0 ? 'next' : 'end')
  const close = (bracket: string): State | null => {
    if (open.at(-1) !== bracket) return null
    open.pop()
    return left()
  }
  if (state === 'end' || token === '') return null
  if (state === 'colon') return token === ':' ? 'value' : null
  if (token === '}') return state === 'next' || state === 'firstKey' ? close('{') : null
  if (token === ']') return state === 'next' || state === 'first' ? close('[') : null
  if (state === 'next') return token !== ',' ? null : open.at(-1) === '{' ? 'key' : 'value'
  if (state === 'key' || state === 'firstKey') return token.startsWith('"') ? 'colon' : null
  if (token === ':' || token === ',') return null
  if (token !== '{' && token !== '[') return left()
  open.push(token)
  return token === '{' ? 'firstKey' : 'first'
}

function matchAt(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at
  return pattern.exec(text)?.[0] ?? ''
}
