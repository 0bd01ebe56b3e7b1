/*
 * Many rows as the parameters of one statement: an array a column, unnested side by side. They are unnested in a select
 * list, not as `from unnest(a, b, …)`, which stores each column's values a second time: half the time for a lone row
 * of 18 columns, two thirds for fifty. The array literals are written here
 * (https://www.postgresql.org/docs/15/arrays.html#ARRAYS-IO), because the driver spends two regular expressions on each
 * element, and most need none.
 */

type Value = string | number | bigint | boolean | null | undefined

/** `word` is text that needs no quotes, because the code chose it: ids, digests, names of states. */
type ColumnType = 'word' | 'text' | 'json' | 'jsonb' | 'uuid' | 'smallint' | 'int' | 'bigint' | 'bool' | 'tid'

type Column<Row> =
  | readonly [type: ColumnType, value: (row: Row) => Value]
  | readonly [type: 'timestamptz', value: (row: Row) => Date | null | undefined]

export interface RowSet<Row> {
  /** The columns' names, for an insert's list. */
  readonly names: string
  /** The rows as a table for `from`, whose arrays are the parameters from this number on; needs an alias. */
  from(firstParameter: number): string
  /** The parameters. */
  values(rows: readonly Row[]): string[]
}

/**
 * Declares the columns of rows that travel to the database together, each once, with its type and where its value comes
 * from.
 *
 * @example
 * const READINGS = rowSet<Reading>({ sensor: ['text', (row) => row.sensor], value: ['int', (row) => row.value] })
 * const INSERT = `insert into readings (${READINGS.names}) select * from ${READINGS.from(1)} as x`
 * await tx.query(INSERT, READINGS.values(readings))
 */
export function rowSet<Row>(columns: { readonly [name: string]: Column<Row> }): RowSet<Row> {
  const entries = Object.entries(columns)
  const typeOf = ([type]: Column<Row>) => (type === 'word' ? 'text' : type)
  return {
    names: entries.map(([name]) => name).join(', '),
    from(firstParameter) {
      const unnested = entries.map(
        ([name, column], i) => `unnest($${firstParameter + i}::${typeOf(column)}[]) as ${name}`,
      )
      return `(select ${unnested.join(', ')})`
    },
    values: (rows) => entries.map(([, column]) => literalOf(rows, column)),
  }
}

const SPECIAL = /["\\]/g

function literalOf<Row>(rows: readonly Row[], [type, value]: Column<Row>): string {
  switch (type) {
    case 'text':
      return arrayOf(rows, value, (text) => `"${String(text).replace(SPECIAL, '\\$&')}"`)
    case 'json':
    case 'jsonb':
      return arrayOf(rows, value, (text) => JSON.stringify(text)) // its escapes are just those of a literal
    case 'timestamptz':
      return arrayOf(rows, value, (date) => date.toISOString())
    default:
      return arrayOf(rows, value, String)
  }
}

function arrayOf<Row, T>(
  rows: readonly Row[],
  value: (row: Row) => T | null | undefined,
  literal: (value: T) => string,
): string {
  let last: T | null = null
  let written = ''
  let text = ''
  for (const row of rows) {
    const element = value(row) ?? null
    // Tenants, names, states and times repeat from row to row.
    if (element !== null && element !== last) {
      last = element
      written = literal(element)
    }
    text += text === '' ? '{' : ','
    text += element === null ? 'NULL' : written
  }
  return `${text || '{'}}`
}
