import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/support/longest-first.ts'

export default defineConfig({
  test: {
    include: ['{src,test}/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    reporters: ['default', './test/support/skip-reporter.ts'],
    pool: 'forks',
    maxWorkers: 3, // on two cores: most tests wait for a database or a timer; a third took a fifth less time
    isolate: false, // nothing keeps state in a module: a process for each file would only cost
    sequence: { sequencer: LongestFirst },
    // Nothing is tested by being quick: these end what hangs, and a machine that others keep busy takes ten times as long.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    expect: { poll: { timeout: 60_000 } },
  },
})
