/*
 * The stop of a whole scope is one row before it is anything in a run: `stop` is what each of its runs will keep. The row
 * goes when no run is left that must be told. Runs remember which order stopped them, so that they can be counted; those
 * that were never stopped are not in that index.
 */
export const UP: readonly string[] = [
  `create table concordat.stop_orders (
    tenant_id     text collate "C" not null,
    order_id      uuid not null,
    agent         text collate "C",
    in_flight     boolean not null,
    created_until timestamptz not null,
    stop          jsonb not null,
    due_at        timestamptz not null,
    primary key (tenant_id, order_id)
  ) with (fillfactor = 50)`,
  `create index stop_orders_due on concordat.stop_orders (due_at)`,
  `create index runs_stop_order on concordat.runs (tenant_id, (stop->>'orderId')) where stop ? 'orderId'`,
]
