import type { Reporter, TestModule } from 'vitest/node'

/**
 * Says at the end what was skipped and why. With `CI` set a skipped test fails the run, and a plain line counts the
 * tests: `12 passed, 0 failed, 0 skipped`.
 */
export default class SkipReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const counts = { passed: 0, failed: 0, skipped: 0, pending: 0 }
    const reasons = new Map<string, number>()
    for (const module of modules) {
      // A file that can't be loaded, or a suite whose hook fails, is a failure that no test stands for.
      for (const whole of [module, ...module.children.allSuites()]) counts.failed += whole.errors().length > 0 ? 1 : 0
      for (const test of module.children.allTests()) {
        const result = test.result()
        counts[result.state] += 1
        if (result.state !== 'skipped') continue
        const reason = result.note ?? 'no reason given'
        reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
      }
    }
    const inCI = Boolean(process.env.CI)
    // Without CI a test may be skipped because the developer picked others by name.
    if (!inCI) reasons.delete('no reason given')
    for (const [reason, count] of reasons) console.log(`SKIPPED ${count} × ${reason.replaceAll('\n', ' ')}`)
    if (!inCI) return
    if (counts.skipped > 0) process.exitCode = 1
    console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
  }
}
