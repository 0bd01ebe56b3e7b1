/*
 * A run's row here says that its use counts in that row of the ledger, from its first charge to its end, also while
 * nobody executes it and nothing is reserved: then nobody holds it.
 */
export const UP: readonly string[] = ['alter table concordat.reservations alter column holder drop not null']
