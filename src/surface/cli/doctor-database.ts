import { existsSync, statSync } from 'node:fs'
import type { Config } from '../../config.ts'
import { listPolicies } from '../../domains/policies/policies.ts'
import { exitCodeOf, toAppError } from '../../foundation/app-error.ts'
import { UNPUBLISHED_SQL } from '../../foundation/events/events.ts'
import { type Database, schemaState, type Tx } from '../../foundation/storage/storage.ts'
import { databaseExists, withDatabase } from './database.ts'
import { alerts, deliveries } from './doctor-alerts.ts'
import { type Finding, ok, warning } from './doctor-findings.ts'
import { reactors } from './doctor-reactor.ts'
import { age, count, duration, plural } from './format.ts'
import { whatIsNotHeld } from './policy-text.ts'
import type { Terminal } from './terminal.ts'
import { liveWorkers } from './workers.ts'

const PINGS = 5
const OLDEST_SERVER = 150_000

/** What the database says: whether it answers, its schema, what waits in it, who works on it. Changes nothing. */
export async function examineDatabase(terminal: Terminal, config: Config, tenant: string): Promise<Finding[]> {
  if (!databaseExists(config)) {
    if (existsSync(config.dataDir) && !statSync(config.dataDir).isDirectory()) {
      const text = `the embedded database can't use ${config.dataDir}: it is not a folder`
      return [{ level: 'error', area: 'database', text, hint: 'Correct CONCORDAT_DATA_DIR.', exitCode: 3 }]
    }
    const text = `there is no embedded database in ${config.dataDir} yet`
    return [warning('database', text, 'The first command that needs it creates it.')]
  }
  try {
    return await withDatabase(terminal, config, (database) => examineOpen(database, config, tenant))
  } catch (thrown) {
    const { message, hint } = toAppError(thrown)
    return [{ level: 'error', area: 'database', text: message, hint, exitCode: exitCodeOf(thrown) }]
  }
}

async function examineOpen(database: Database, config: Config, tenant: string): Promise<Finding[]> {
  const findings = [await server(database), ...(await schema(database))]
  if (findings.some(({ level }) => level === 'error') || !(await hasTables(database))) return findings
  return [
    ...findings,
    ...(await policies(database, config, tenant)),
    ...(await alerts(database)),
    ...(await deliveries(database)),
    ...(await blocked(database)),
    ...(await outbox(database)),
    ...(await reactors(database, config)),
    ...(await workers(database)),
  ]
}

async function server(database: Database): Promise<Finding> {
  const [row] = await database.query<{ number: string; version: string }>(
    `select current_setting('server_version_num') as number, current_setting('server_version') as version`,
  )
  const times: number[] = []
  for (let ping = 0; ping < PINGS; ping++) {
    const sentAt = performance.now()
    await database.query('select 1')
    times.push(performance.now() - sentAt)
  }
  const median = times.sort((a, b) => a - b)[Math.floor(PINGS / 2)] ?? 0
  const kind = database.kind === 'embedded' ? 'embedded PostgreSQL' : 'PostgreSQL'
  const text = `${kind} ${row?.version} answers in ${median.toFixed(1)} ms`
  if (Number(row?.number) >= OLDEST_SERVER) return ok('database', text)
  return { level: 'error', area: 'database', text, hint: 'PostgreSQL 15 is the oldest that is supported.', exitCode: 3 }
}

async function schema(database: Database): Promise<Finding[]> {
  const { applied, pending, unknown } = await schemaState(database)
  if (unknown.length > 0) {
    const text = `the schema is newer than this version: ${unknown.join(', ')}`
    return [{ level: 'error', area: 'database', text, hint: 'Update Concordat.', exitCode: 3 }]
  }
  if (pending.length === 0) return [ok('database', `the schema is up to date: ${plural(applied.length, 'migration')}`)]
  return [
    warning('database', `${plural(pending.length, 'migration')} pending: ${pending.join(', ')}`, 'concordat migrate'),
  ]
}

async function hasTables(tx: Tx): Promise<boolean> {
  const [row] = await tx.query<{ found: string | null }>(`select to_regclass('concordat.alerts')::text as found`)
  return row?.found != null
}

/** No policy loaded must not look like allowed. */
async function policies(tx: Tx, config: Config, tenant: string): Promise<Finding[]> {
  const [row] = await tx.query<{ policies: number; tenants: number; without: number }>(
    `select (select count(*)::int from concordat.policies where tenant_id = $1 and active and enabled) as policies,
            (select count(*)::int from concordat.tenants) as tenants,
            (select count(*)::int from concordat.tenants t
              where not exists (select from concordat.policies p where p.tenant_id = t.tenant_id and p.active and p.enabled)) as without`,
    [tenant],
  )
  const { policies = 0, tenants = 0, without = 0 } = row ?? {}
  const own =
    policies > 0
      ? ok('not enforced', `tenant ${tenant} has ${plural(policies, 'policy', 'policies')} in force`)
      : warning(
          'not enforced',
          `tenant ${tenant} has no policy: each verdict is NOT_APPLICABLE, which is not “allowed”`,
        )
  const others =
    without > (policies > 0 ? 0 : 1)
      ? [warning('not enforced', `${count(without)} of ${plural(tenants, 'tenant')} have no policy`)]
      : []
  return [own, ...others, ...(await notHeld(tx, config, tenant))]
}

/** In force, and looked at by nobody. */
async function notHeld(tx: Tx, config: Config, tenant: string): Promise<Finding[]> {
  const definitions = (await listPolicies(tx, tenant)).map(({ definition }) => definition)
  return whatIsNotHeld(definitions, config.midExecutionPolicyCheckEnabled).map((text) => warning('not enforced', text))
}

async function blocked(tx: Tx): Promise<Finding[]> {
  const [row] = await tx.query<{ n: number; example: string | null }>(
    `select count(*)::int as n, min(run_id::text) as example from concordat.runs where due_at is not null and pending is not null`,
  )
  if (!row || row.n === 0) return []
  return [warning('database', `${plural(row.n, 'run')} wait to be finalised`, `concordat runs get ${row.example}`)]
}

async function outbox(tx: Tx): Promise<Finding[]> {
  const [row] = await tx.query<{ n: number; oldest: number }>(
    `select count(*)::int as n, coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float8 as oldest
       from ${UNPUBLISHED_SQL} o`,
  )
  if (!row || row.n === 0) return [ok('events', 'the outbox is empty: every event is published')]
  const text = `${plural(row.n, 'outbox row')} wait to be published, the oldest for ${duration(row.oldest * 1_000)}`
  return [warning('events', text, 'A worker publishes them; see whether one is alive.')]
}

async function workers(tx: Tx): Promise<Finding[]> {
  const alive = await liveWorkers(tx)
  if (alive.length === 0) return [warning('workers', 'no worker is alive: nothing is executed', 'concordat worker')]
  const now = Date.now()
  return alive.map(({ process, running, concurrency, startedAt }) => {
    return ok(
      'workers',
      `${process} executes ${running} of at most ${plural(concurrency, 'run')}, up ${age(now - startedAt.getTime())}`,
    )
  })
}
