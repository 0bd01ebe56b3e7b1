import { activeSilences, listAlerts } from '../../domains/alerts/alerts.ts'
import { listSubscriptions, untakenDeliveries } from '../../domains/deliveries/deliveries.ts'
import type { Tx } from '../../foundation/storage/storage.ts'
import { type Finding, ok, warning } from './doctor-findings.ts'
import { count, duration, plural } from './format.ts'
import { silenceText } from './silence-text.ts'

const SHOWN_MAX = 5
/** A sender looks twice a second. */
const UNTAKEN_MS = 60_000

/** The latest alerts that fire, each with its run and the command to look at it. */
export async function alerts(tx: Tx): Promise<Finding[]> {
  const firing = await listAlerts(tx, { tenantId: null, state: 'firing', limit: SHOWN_MAX })
  const silent = (await activeSilences(tx, null)).slice(0, SHOWN_MAX).map((silence) => {
    return warning('events', `nobody is told of alerts: ${silenceText(silence)}`)
  })
  if (firing.length === 0) return [ok('events', 'no alert is firing'), ...silent]
  const [row] = await tx.query<{ n: number }>(
    `select count(*)::int as n from concordat.alerts where state <> 'resolved' and state = 'firing'`,
  )
  const more = (row?.n ?? 0) - firing.length
  return [
    ...firing.map(({ severity, type, runId, tenantId, message }) => {
      return warning(
        'events',
        `${severity}: ${type} of run ${runId} (tenant ${tenantId}): ${message}`,
        `concordat audit get ${runId}`,
      )
    }),
    ...(more > 0 ? [warning('events', `${count(more)} more alerts fire`, 'concordat alerts list')] : []),
    ...silent,
  ]
}

/** What waits to be sent, and what is sent no more. */
export async function deliveries(tx: Tx): Promise<Finding[]> {
  const waiting = await tx.query<{ target: string; n: number; oldest: number; lastError: string | null }>(
    `select target, count(*)::int as n, extract(epoch from clock_timestamp() - min(created_at))::float8 as oldest,
            (array_agg(last_error order by due_at desc) filter (where last_error is not null))[1] as "lastError"
       from concordat.deliveries where state = 'pending' group by target order by 3 desc limit $1`,
    [SHOWN_MAX],
  )
  const untaken = await untakenDeliveries(tx, UNTAKEN_MS)
  const disabled = (await listSubscriptions(tx, null)).filter(({ state }) => state === 'disabled')
  return [
    ...waiting.map(({ target, n, oldest, lastError }) => {
      const since = `${n === 1 ? 'waits' : 'wait'} to arrive, the oldest for ${duration(oldest * 1_000)}`
      const because = lastError === null ? '' : `: ${lastError}`
      return warning('events', `${plural(n, 'delivery', 'deliveries')} to ${target} ${since}${because}`)
    }),
    ...untaken.slice(0, SHOWN_MAX).map(({ target, count: n, sinceMs }) => {
      const text = `${plural(n, 'delivery', 'deliveries')} to ${target}: nobody has taken them for ${duration(sinceMs)}`
      const hint = target.startsWith('sink/')
        ? 'Start a process that has the sink in its `sinks`; after three days they are given up.'
        : 'A worker or reactor sends them; see whether one is alive.'
      return warning('events', text, hint)
    }),
    ...disabled.slice(0, SHOWN_MAX).map(({ subscriptionId, tenantId, disabledBecause }) => {
      const text = `subscription ${subscriptionId} of tenant ${tenantId} is disabled: ${disabledBecause}`
      return warning('events', text, `concordat subscriptions enable ${subscriptionId}`)
    }),
  ]
}
