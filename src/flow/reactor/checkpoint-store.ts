import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import type { Handler } from './handlers.ts'

/** How far a handler is in a partition: all events up to the position are dealt with. */
export interface Checkpoint {
  readonly handler: string
  readonly partition: number
  readonly position: number
}

type NewCheckpoint = Pick<Handler, 'name' | 'from'> & { readonly partition: number }

const NEW = rowSet<NewCheckpoint>({
  handler: ['text', (row) => row.name],
  partition: ['smallint', (row) => row.partition],
  from_now: ['bool', (row) => row.from === 'now'],
})

const CREATE = statement(
  'reactor_checkpoints_create',
  `insert into concordat.reactor_checkpoints (reactor_group, handler, partition, position)
   select $1, row.handler, row.partition,
          coalesce(
            case when not row.from_now then (
              select b.position - 1 from concordat.relay_batches b
               where b.partition = row.partition order by b.position limit 1
            ) end,
            p.next_position - 1)
     from ${NEW.from(2)} as row
     join concordat.relay_partitions p on p.partition = row.partition
   on conflict (reactor_group, handler, partition) do update set seen_at = clock_timestamp()`,
)

const READ = statement(
  'reactor_checkpoints_read',
  `select handler, partition, position from concordat.reactor_checkpoints
    where reactor_group = $1 and handler = any ($2::text[]) and partition = any ($3::smallint[])`,
)

/** Where these handlers stand in these partitions; one that is new begins where it wants to. */
export async function openCheckpoints(
  tx: Tx,
  group: string,
  handlers: readonly Handler[],
  partitions: readonly number[],
): Promise<Checkpoint[]> {
  if (handlers.length === 0 || partitions.length === 0) return []
  const wanted = handlers.flatMap(({ name, from }) => partitions.map((partition) => ({ name, from, partition })))
  const names = handlers.map(({ name }) => name)
  const [, rows] = await Promise.all([
    tx.query(CREATE, [group, ...NEW.values(wanted)]),
    tx.query<Omit<Checkpoint, 'position'> & { position: bigint }>(READ, [group, names, partitions]),
  ])
  return rows.map((row) => ({ ...row, position: Number(row.position) }))
}

/** A checkpoint that moves; the position that it leaves fences it: only one reactor can make this move. */
export interface CheckpointMove {
  readonly handler: string
  readonly partition: number
  readonly from: number
  readonly to: number
}

const MOVES = rowSet<CheckpointMove>({
  handler: ['text', (move) => move.handler],
  partition: ['smallint', (move) => move.partition],
  from_position: ['bigint', (move) => move.from],
  to_position: ['bigint', (move) => move.to],
})

const MOVE = `update concordat.reactor_checkpoints c set position = move.to_position
     from ${MOVES.from(2)} as move
    where c.reactor_group = $1 and c.handler = move.handler and c.partition = move.partition
      and c.position = move.from_position`

const MOVE_ALL = statement('reactor_checkpoints_move', `${MOVE} returning c.handler, c.partition`)

const MOVE_ONE = statement(
  'reactor_checkpoint_move',
  `with moved as (${MOVE} returning 1)
   select concordat.require_rows((select count(*) from moved), 1, 'checkpoints')`,
)

/** Moves what still stands where it is believed to; returns these. */
export async function moveCheckpoints(
  tx: Tx,
  group: string,
  moves: readonly CheckpointMove[],
): Promise<{ handler: string; partition: number }[]> {
  return tx.query(MOVE_ALL, [group, ...MOVES.values(moves)])
}

/** Fails, and the transaction with it, when the checkpoint stands elsewhere (`isStale`). */
export async function moveCheckpoint(tx: Tx, group: string, move: CheckpointMove): Promise<void> {
  await tx.query(MOVE_ONE, [group, ...MOVES.values([move])])
}

const SEE = statement(
  'reactor_checkpoints_see',
  `update concordat.reactor_checkpoints set seen_at = clock_timestamp()
    where reactor_group = $1 and handler = any ($2::text[])`,
)

/** Says that these handlers live, so that the outbox keeps what they have not handled. */
export async function seeCheckpoints(tx: Tx, group: string, handlers: readonly string[]): Promise<void> {
  await tx.query(SEE, [group, handlers])
}
