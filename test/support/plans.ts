import type pg from 'pg'

/** A node of a plan as EXPLAIN tells it. */
interface PlanNode {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Index Name'?: string
  readonly 'Index Cond'?: string
  readonly Filter?: string
  readonly Plans?: readonly PlanNode[]
}

/** The plan that a session keeps of a statement: for any parameters. */
export async function genericPlan(client: pg.Client, text: string): Promise<PlanNode> {
  await client.query(`prepare named as ${text}`)
  try {
    const { rows: parameters } = await client.query<{ n: number }>(
      `select cardinality(parameter_types) as n from pg_prepared_statements where name = 'named'`,
    )
    const nulls = Array.from({ length: parameters[0]?.n ?? 0 }, () => 'null').join(', ')
    const { rows } = await client.query(`explain (format json) execute named${nulls && `(${nulls})`}`)
    return rows[0]['QUERY PLAN'][0].Plan
  } finally {
    await client.query('deallocate named')
  }
}

/** How a read begins that goes past what is due. */
export const NOT_DUE = 'what is not due yet'

export interface WholeRead {
  readonly table: string
  readonly how: string
}

/**
 * Where a plan reads a table, or all of a tenant's rows, from one end to the other. What has a partial index, as work
 * that waits, may be read whole by that; but for what is due, no further than that goes.
 */
export function wholeReads(plan: PlanNode, partialIndexes: ReadonlySet<string>): WholeRead[] {
  const found: WholeRead[] = []
  const visit = (node: PlanNode, tableAbove: string) => {
    const {
      'Node Type': type,
      'Relation Name': table = tableAbove,
      'Index Name': index = '',
      'Index Cond': where,
      Filter: filter = '',
    } = node
    if (type === 'Seq Scan') found.push({ table, how: `all of ${table}` })
    if (/^(Bitmap )?Index (Only )?Scan/.test(type) && !isByKey(where) && !partialIndexes.has(index)) {
      found.push({ table, how: `all of ${table} by ${index}${where ? ` where ${where}` : ''}` })
    }
    // A clock that moves while a statement goes on can't be a bound of an index: each row is held against it.
    if (where === undefined && index !== '' && filter.includes('clock_timestamp()')) {
      found.push({ table, how: `${NOT_DUE} by ${index}` })
    }
    for (const child of node.Plans ?? []) visit(child, table)
  }
  visit(plan, '')
  return found
}

/** By more than the tenant. */
function isByKey(condition: string | undefined): boolean {
  return condition !== undefined && !/^\(tenant_id = [^()]*\)$/.test(condition)
}

/** Indexes of a part of a table, as of what is due. */
export async function partialIndexes(client: pg.Client): Promise<ReadonlySet<string>> {
  const { rows } = await client.query<{ name: string }>(
    `select i.relname as name from pg_index x join pg_class i on i.oid = x.indexrelid
      where i.relnamespace = 'concordat'::regnamespace and x.indpred is not null`,
  )
  return new Set(rows.map(({ name }) => name))
}
