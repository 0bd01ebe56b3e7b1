/*
 * Hot statements take arrays, which the planner knows nothing about, so a plan made for one call is as good as for the
 * next; but left to itself it plans the recording of steps anew each time, for longer than executing it takes
 * (0.5 ms of 0.8). Plans that are kept are often made while tables are nearly empty: every hot statement has its
 * index, so a sequential scan is never right for long, and compiling a plan (100 ms and more) never pays.
 *
 * Nor is any other join right than one look-up by key for each row that a statement brings: a plan that was made while
 * the table was nearly empty reads all of it instead. `cross join lateral (… limit 1)` leaves no other plan, and where a
 * row is then changed, it is found by its address.
 */
export const SESSION_SETTINGS = `set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off;
  set concordat.session = 'own'`

/** SQL: whether the session is one of ours. What others write by hand, the audit looks at. */
export const OWN_SESSION_SQL = `(coalesce(current_setting('concordat.session', true), '') = 'own')`
