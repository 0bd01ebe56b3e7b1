export const UP: readonly string[] = [
  // As lines they have half the characters, and a run's row is written anew with every change of it.
  'alter table concordat.runs add column lines text',
  `update concordat.runs set lines = (
     select string_agg((t.step ->> 'to') || ' ' || (t.step ->> 'at') || ' ' || regexp_replace(t.step ->> 'why', '\\s+', ' ', 'g') || E'\\n', '' order by t.place)
       from jsonb_array_elements(transitions) with ordinality as t (step, place))`,
  'alter table concordat.runs drop column transitions',
  'alter table concordat.runs rename column lines to transitions',
  'alter table concordat.runs alter column transitions set not null',

  // Read with each claim and each look, and never by its members.
  'alter table concordat.audit_contracts alter column expectations type json using expectations::json',
]
