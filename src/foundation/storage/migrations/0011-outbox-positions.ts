export const UP: readonly string[] = [
  // Readers find an event by the position of its row's first one, not more than so many before it.
  `alter table concordat.outbox add check (event_count between 1 and 100)`,
  // Until when a silence keeps people from being told; then they are, if it still fires.
  `alter table concordat.alerts add silenced_until timestamptz`,
  `create index alerts_silenced on concordat.alerts (silenced_until) where silenced_until is not null`,
]
