/*
 * Reactors with different handlers share a group: those with the same ones share the partitions of a scope of their own,
 * and a lease names the handlers that it is for, so that no handler has two reactors on one partition.
 */
export const UP: readonly string[] = [
  'drop table concordat.reactor_partitions',
  `create table concordat.reactor_partitions (
    lease_scope   text collate "C" not null,
    reactor_group text collate "C" not null,
    partition     smallint not null,
    owner         uuid,
    lease_token   integer not null default 0,
    handlers      text[] not null default '{}',
    expires_at    timestamptz,
    primary key (lease_scope, partition)
  ) with (fillfactor = 50)`,
  `alter table concordat.reactor_members add column lease_scope text collate "C" not null default ''`,
]
