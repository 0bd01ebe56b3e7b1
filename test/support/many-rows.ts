import type pg from 'pg'

interface Column {
  readonly table: string
  readonly name: string
  readonly type: string
}

/**
 * Fills each table with copies of its rows, so many of each: ids are others, the same wherever a row refers to one.
 * What is unique in another way than by its id is not copied.
 */
export async function multiplyRows(client: pg.Client, times: number): Promise<void> {
  const { rows } = await client.query<Column>(
    `select c.relname as table, a.attname as name, format_type(a.atttypid, null) as type
       from pg_class c join pg_attribute a on a.attrelid = c.oid
      where c.relnamespace = 'concordat'::regnamespace and c.relkind = 'r' and c.relname <> 'migrations'
        and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attidentity = ''
      order by c.relname, a.attnum`,
  )
  await client.query(`set session_replication_role = replica`) // no trigger, no foreign key is asked
  for (const table of new Set(rows.map((column) => column.table))) {
    const columns = rows.filter((column) => column.table === table)
    const names = columns.map(({ name }) => name).join(', ')
    const copy = columns.map(({ name, type }) => copied(name, type)).join(', ')
    await client.query(
      `insert into concordat.${table} (${names})
       select ${copy} from concordat.${table} cross join generate_series(1, ${times}) as nth on conflict do nothing`,
    )
  }
  await client.query(`set session_replication_role = origin`)
}

/** `subject` of a budget has a run's id behind its kind. */
function copied(name: string, type: string): string {
  if (type === 'uuid') return `md5(${name}::text || nth)::uuid`
  return name === 'subject' || name === 'idempotency_key' ? `${name} || nth` : name
}

export async function rowCounts(client: pg.Client): Promise<Record<string, number>> {
  const { rows } = await client.query<{ table: string }>(
    `select relname as table from pg_class where relnamespace = 'concordat'::regnamespace and relkind = 'r'`,
  )
  const counts: Record<string, number> = {}
  for (const { table } of rows) {
    const { rows: counted } = await client.query<{ n: number }>(`select count(*)::int as n from concordat.${table}`)
    counts[table] = counted[0]?.n ?? 0
  }
  return counts
}
