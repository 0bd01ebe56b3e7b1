import type { Writable } from 'node:stream'
import pg from 'pg'
import type { Statement } from './database.ts'
import { typeParsers } from './type-parsers.ts'

/** The messages of PostgreSQL's extended query protocol, as the driver's connection sends them. */
interface Wire {
  readonly stream: Partial<Pick<Writable, 'cork' | 'uncork'>>
  close(message: { readonly type: 'S'; readonly name: string }): void
  parse(message: { readonly name: string; readonly text: string }): void
  bind(message: { readonly statement: string; readonly values: readonly unknown[] }): void
  describe(message: { readonly type: 'P' }): void
  execute(message: object): void
  sync(): void
}

interface Column {
  readonly name: string
  readonly read: (text: string) => unknown
}

/** A statement that a connection has parsed. Its columns are null until the server has described them. */
export interface Prepared {
  columns: readonly Column[] | null
}

interface Passenger {
  readonly sql: Statement
  readonly values: readonly unknown[]
  readonly resolve: (rows: unknown[]) => void
  readonly reject: (error: unknown) => void
  readonly rows: unknown[]
  prepared: Prepared
}

/** What the driver has and its types leave out. It pipelines queries of its own class only. */
const driver = pg as unknown as {
  readonly Query: new (text: string) => object
  readonly utils: { readonly prepareValue: (value: unknown) => unknown }
}

/**
 * Statements that travel to the server together, behind one Sync: it answers all in one message, which wakes this
 * process once, and each is parsed and described once a connection. After one that fails the server skips the others.
 *
 * For the driver's client, which calls the methods from `submit` on.
 */
export class Flight extends driver.Query {
  readonly #known: Map<string, Prepared>
  readonly #passengers: Passenger[] = []
  #answered = 0

  /** `known`: the statements that its connection has parsed, by name; one map a connection, which flights keep. */
  constructor(known: Map<string, Prepared>) {
    super('')
    this.#known = known
  }

  /** Resolves to the statement's rows once the server has answered the whole flight. */
  add(sql: Statement, values: readonly unknown[]): Promise<unknown[]> {
    const written = values.map((value) => driver.utils.prepareValue(value))
    return new Promise((resolve, reject) => {
      this.#passengers.push({ sql, values: written, resolve, reject, rows: [], prepared: { columns: null } })
    })
  }

  submit(wire: Wire): null {
    wire.stream.cork?.()
    for (const passenger of this.#passengers) send(wire, this.#known, passenger)
    wire.sync()
    wire.stream.uncork?.()
    return null
  }

  handleRowDescription({ fields }: { readonly fields: readonly { name: string; dataTypeID: number }[] }): void {
    const columns = fields.map(({ name, dataTypeID }) => ({ name, read: typeParsers.getTypeParser(dataTypeID) }))
    this.#current.prepared.columns = columns
  }

  handleDataRow({ fields }: { readonly fields: readonly (string | null)[] }): void {
    const { prepared, rows } = this.#current
    rows.push(rowOf(prepared.columns ?? [], fields))
  }

  handleCommandComplete(): void {
    this.#current.prepared.columns ??= []
    this.#answered++
  }

  /** The answer to a statement without a command. */
  handleEmptyQuery(): void {
    this.handleCommandComplete()
  }

  handleReadyForQuery(): void {
    for (const { resolve, rows } of this.#passengers) resolve(rows)
  }

  /**
   * Those that were answered before the one that fails have been executed, inside a transaction. When all were, their
   * commit has failed, or the connection is gone before it was told.
   */
  handleError(error: unknown): void {
    const failed = this.#answered < this.#passengers.length ? this.#answered : 0
    for (const { resolve, rows } of this.#passengers.slice(0, failed)) resolve(rows)
    for (const { reject, sql } of this.#passengers.slice(failed)) {
      this.#known.delete(sql.name)
      reject(error)
    }
  }

  get #current(): Passenger {
    return this.#passengers[this.#answered] as Passenger
  }
}

function send(wire: Wire, known: Map<string, Prepared>, passenger: Passenger): void {
  const { sql, values } = passenger
  const prepared = known.get(sql.name)
  if (prepared) passenger.prepared = prepared
  else {
    // One that failed after it was parsed is still there; to close what isn't is no error.
    if (sql.name !== '') wire.close({ type: 'S', name: sql.name })
    wire.parse(sql)
    if (sql.name !== '') known.set(sql.name, passenger.prepared)
  }
  wire.bind({ statement: sql.name, values })
  if (passenger.prepared.columns === null) wire.describe({ type: 'P' })
  wire.execute({})
}

function rowOf(columns: readonly Column[], fields: readonly (string | null)[]): Record<string, unknown> {
  const row: Record<string, unknown> = {}
  for (let i = 0; i < columns.length; i++) {
    const { name, read } = columns[i] as Column
    const text = fields[i] ?? null
    row[name] = text === null ? null : read(text)
  }
  return row
}
