import { statement, type Tx } from '../storage/storage.ts'
import { type LeaseRow, planLeases } from './lease-plan.ts'

export type { LeaseRow } from './lease-plan.ts'

/** Partition to token: what its owner believes to hold. */
export type HeldLeases = ReadonlyMap<number, number>

export interface LeaseTable {
  /** Begins the names of the statements. */
  readonly name: string
  /** Has the columns partition, owner, lease_token and expires_at. */
  readonly table: string
  /** A column that tells several sets of leases in the table apart; `scope` is its value then. */
  readonly scopeColumn?: string
  /** Further columns of a partition that its new holder needs to know, as in `, x as "X"`. */
  readonly extras?: string
}

export interface BalanceOptions {
  readonly owner: string
  readonly leaseMs: number
  readonly held: HeldLeases
  readonly scope?: string
  /** All live holders, where they are known. */
  readonly members?: readonly string[]
  /** False: only renews what is held. */
  readonly mayTake?: boolean
}

/** A partition that was just taken over. Its token fences every write: another holder has another token. */
export type TakenLease<Extras> = { readonly partition: number; readonly leaseToken: number } & Extras

export interface BalancedLeases<Extras> {
  readonly taken: readonly TakenLease<Extras>[]
  /** No longer ours: taken by another after our lease had run out. */
  readonly lost: readonly number[]
  /** Still ours, and to be given up with `release`, so that others get their share. */
  readonly surplus: HeldLeases
}

export interface PartitionLeases<Extras> {
  /**
   * Renews what is held, and takes free partitions up to a fair share. Each of its statements is whole by itself and
   * needs no transaction: a process that stands still in one keeps what it has locked from all others.
   */
  balance(tx: Tx, options: BalanceOptions): Promise<BalancedLeases<Extras>>
  /** Gives partitions up at once, for another holder to take. */
  release(tx: Tx, options: Pick<BalanceOptions, 'owner' | 'held' | 'scope'>): Promise<void>
}

/** Leases on the 16 partitions in a table: each has one holder at a time, and holders share them evenly. */
export function partitionLeases<Extras = unknown>(lease: LeaseTable): PartitionLeases<Extras> {
  const { renew, read, take, release } = leaseStatements(lease)
  const scoped = (scope: string | undefined, ...values: unknown[]) => (lease.scopeColumn ? [scope, ...values] : values)
  return {
    async balance(tx, { owner, leaseMs, held, scope, members, mayTake = true }) {
      const values = scoped(scope, owner, [...held.keys()], [...held.values()], leaseMs)
      const renewed = await tx.query<{ partition: number }>(renew, values)
      const rows = await tx.query<LeaseRow>(read, scoped(scope))
      const still = new Set(renewed.map((row) => row.partition))
      const plan = planLeases(rows, owner, held, members)
      const partitions = plan.take.map((row) => row.partition)
      const tokens = plan.take.map((row) => row.leaseToken)
      const taken =
        partitions.length === 0 || !mayTake
          ? []
          : await tx.query<TakenLease<Extras>>(take, scoped(scope, owner, partitions, tokens, leaseMs))
      return {
        taken,
        lost: [...held.keys()].filter((partition) => !still.has(partition)),
        surplus: new Map(plan.release.map((row) => [row.partition, row.leaseToken])),
      }
    },
    async release(tx, { owner, held, scope }) {
      if (held.size > 0) await tx.query(release, scoped(scope, owner, [...held.keys()], [...held.values()]))
    },
  }
}

function leaseStatements({ name, table, scopeColumn, extras = '' }: LeaseTable) {
  const inScope = scopeColumn ? `${scopeColumn} = $1 and ` : ''
  const [owner, partitions, tokens, leaseMs] = [1, 2, 3, 4].map((n) => `$${scopeColumn ? n + 1 : n}`)
  const named = `(partition, lease_token) in (select * from unnest(${partitions}::smallint[], ${tokens}::integer[]))`
  const expires = `clock_timestamp() + ${leaseMs} * interval '1 millisecond'`
  return {
    renew: statement(
      `${name}_renew`,
      `update ${table} set expires_at = ${expires} where ${inScope}owner = ${owner} and ${named} returning partition`,
    ),
    read: statement(
      `${name}_read`,
      `select partition, owner, lease_token as "leaseToken", coalesce(expires_at > clock_timestamp(), false) as live
         from ${table} ${scopeColumn ? `where ${scopeColumn} = $1` : ''} order by partition`,
    ),
    // A row that is locked has a holder that is alive, or another one that is taking it.
    take: statement(
      `${name}_take`,
      `with wanted as (select partition from ${table} where ${inScope}${named} for update skip locked)
       update ${table} p set owner = ${owner}, lease_token = p.lease_token + 1, expires_at = ${expires}
         from wanted where ${inScope}p.partition = wanted.partition
       returning p.partition, p.lease_token as "leaseToken"${extras}`,
    ),
    release: statement(
      `${name}_release`,
      `update ${table} set owner = null, expires_at = null where ${inScope}owner = ${owner} and ${named}`,
    ),
  }
}
