import { createRequire } from 'node:module'
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
  let opened: ReturnType<typeof openRegistry> | undefined
  const registry = () => (opened ??= openRegistry())
  const collector = <T>(name: string) => registry().collectors.get(name) as T
  return {
    counter: (name) => ({
      inc: (labels, amount = 1) => collector<Counter<typeof labels>>(name).inc(labels, amount),
    }),
    gauge: (name) => ({
      set: (labels, value) => collector<Gauge<typeof labels>>(name).set(labels, value),
    }),
    histogram: (name) => ({
      observe: (labels, value) => collector<Histogram<typeof labels>>(name).observe(labels, value),
    }),
    text: () => registry().registers[0].metrics(),
  }
}

/** Loads the library: 83 modules, and most commands count nothing. */
function openRegistry() {
  const prometheus: typeof import('prom-client') = createRequire(import.meta.url)('prom-client')
  const registers = [new prometheus.Registry()] as const
  const collectors = new Map<string, unknown>()

  // All metrics exist from the start, at zero where they have no labels: a rate over a metric that appears with its
  // first event misses that event.
  for (const [name, { type, help, labels }] of Object.entries(metricTable)) {
    const options = { name, help, labelNames: [...labels], registers: [...registers] }
    if (type === 'counter') collectors.set(name, new prometheus.Counter(options))
    else if (type === 'gauge') collectors.set(name, new prometheus.Gauge(options))
    else collectors.set(name, new prometheus.Histogram({ ...options, buckets: SECONDS_BUCKETS }))
  }
  return { registers, collectors }
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
