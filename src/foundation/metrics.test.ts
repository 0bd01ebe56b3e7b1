import { describe, expect, it } from 'vitest'
import { metricTable } from './metric-table.ts'
import { createMetrics, noMetrics } from './metrics.ts'

describe('metrics', () => {
  it('are told in the Prometheus text format, all of them from the start', async () => {
    const metrics = createMetrics()
    metrics.counter('concordat_runs_ended_total').inc({ status: 'succeeded' })
    metrics.counter('concordat_runs_ended_total').inc({ status: 'succeeded' }, 2)
    metrics.gauge('concordat_outbox_backlog').set({}, 7)
    metrics.histogram('concordat_stop_duration_seconds').observe({}, 0.003)
    const text = await metrics.text()
    expect(text).toContain('concordat_runs_ended_total{status="succeeded"} 3')
    expect(text).toContain('concordat_outbox_backlog 7')
    expect(text).toContain('concordat_stop_duration_seconds_bucket{le="0.005"} 1')
    for (const name of Object.keys(metricTable)) expect(text).toContain(`# HELP ${name} `)
  })

  it('of two runtimes in one process do not mix', async () => {
    const [first, second] = [createMetrics(), createMetrics()]
    first.gauge('concordat_outbox_backlog').set({}, 7)
    expect(await second.text()).toContain('concordat_outbox_backlog 0')
  })

  it('can be switched off', async () => {
    noMetrics.counter('concordat_policy_checks_total').inc({ decision: 'CONTINUE' })
    expect(await noMetrics.text()).toBe('')
  })
})
