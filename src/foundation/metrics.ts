import { Counter as PromCounter, Gauge as PromGauge, Histogram as PromHistogram, Registry } from 'prom-client'
import { type CounterName, type GaugeName, type HistogramName, type LabelsOf, metricTable } from './metric-table.ts'

export type { CounterName, GaugeName, HistogramName } from './metric-table.ts'

export interface Counter<Labels> {
  /** Adds `amount`, 1 unless given. */
  inc(labels: Labels, amount?: number): void
}

export interface Gauge<Labels> {
  set(labels: Labels, value: number): void
}

export interface Histogram<Labels> {
  /** Records one value, in the unit of the metric's name. */
  observe(labels: Labels, value: number): void
}

/** Counts and measures. Names, help texts and labels come from one table, so that a wrong one does not compile. */
export interface Metrics {
  counter<Name extends CounterName>(name: Name): Counter<LabelsOf<Name>>
  gauge<Name extends GaugeName>(name: Name): Gauge<LabelsOf<Name>>
  histogram<Name extends HistogramName>(name: Name): Histogram<LabelsOf<Name>>
  /** Everything measured so far in the Prometheus text format. */
  text(): Promise<string>
}

/** Metrics of one runtime, in a registry of its own: two runtimes in one process do not mix. */
export function createMetrics(): Metrics {
  const registers = [new Registry()] as const
  const collectors = new Map<string, unknown>()

  // All metrics exist from the start, at zero where they have no labels: a rate over a metric that appears with its
  // first event misses that event.
  for (const [name, { type, help, labels }] of Object.entries(metricTable)) {
    const options = { name, help, labelNames: [...labels], registers: [...registers] }
    if (type === 'counter') collectors.set(name, new PromCounter(options))
    else if (type === 'gauge') collectors.set(name, new PromGauge(options))
    else collectors.set(name, new PromHistogram({ ...options, buckets: SECONDS_BUCKETS }))
  }
  return {
    counter: (name) => collectors.get(name) as Counter<LabelsOf<typeof name>>,
    gauge: (name) => collectors.get(name) as Gauge<LabelsOf<typeof name>>,
    histogram: (name) => collectors.get(name) as Histogram<LabelsOf<typeof name>>,
    text: () => registers[0].metrics(),
  }
}

// From the measured 1 ms of a pushed stop to a minute, each bound at most 2.5 times the one before it.
const SECONDS_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

const nothing = Object.freeze({ inc: () => {}, set: () => {}, observe: () => {} })

/** Measures nothing. */
export const noMetrics: Metrics = Object.freeze({
  counter: () => nothing,
  gauge: () => nothing,
  histogram: () => nothing,
  text: async () => '',
})
