import { ByteWriter, ELEMENT_TYPES, type ElementType, writeArray } from './binary-array.ts'

type Types = typeof ELEMENT_TYPES
type ValueOf<Type extends keyof Types> = Parameters<Types[Type]['write']>[1]

type Column<Row> = {
  [Type in keyof Types]: readonly [type: Type, value: (row: Row) => ValueOf<Type> | null | undefined]
}[keyof Types]

export interface RowSet<Row> {
  /** The columns' names, for an insert's list. */
  readonly names: string
  /** The rows as a table for `from`, whose arrays are the parameters from this number on; needs an alias. */
  from(firstParameter: number): string
  /** The parameters. */
  values(rows: readonly Row[]): Buffer[]
}

/** Of an element, for the first guess at what the parameters take. */
const ELEMENT_BYTES = 24

/**
 * Many rows as the parameters of one statement: an array a column, unnested side by side. Declares each column once,
 * with its type and where its value comes from; absent values are null.
 *
 * They are unnested in a select list, not as `from unnest(a, b, …)`, which stores every column's values once more: a
 * lone row of 18 columns took 52 µs on the server instead of 21, fifty rows 290 instead of 160.
 *
 * @example
 * const READINGS = rowSet<Reading>({ sensor: ['text', (row) => row.sensor], value: ['int', (row) => row.value] })
 * const INSERT = `insert into readings (${READINGS.names}) select * from ${READINGS.from(1)} as x`
 * await tx.query(INSERT, READINGS.values(readings))
 */
export function rowSet<Row>(columns: { readonly [name: string]: Column<Row> }): RowSet<Row> {
  const entries = Object.entries(columns)
  return {
    names: entries.map(([name]) => name).join(', '),
    from(firstParameter) {
      const unnested = entries.map(([name, [type]], i) => `unnest($${firstParameter + i}::${type}[]) as ${name}`)
      return `(select ${unnested.join(', ')})`
    },
    values(rows) {
      const bytes = new ByteWriter(entries.length * (rows.length + 1) * ELEMENT_BYTES)
      const ends = entries.map(([, [type, value]]) => {
        writeArray(bytes, ELEMENT_TYPES[type] as ElementType<unknown>, rows, value)
        return bytes.length
      })
      return ends.map((end, i) => bytes.slice(ends[i - 1] ?? 0, end))
    },
  }
}
