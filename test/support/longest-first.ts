import type { TestSpecification } from 'vitest/node'
import { BaseSequencer } from 'vitest/node'

/** Files that start workers as processes, and kill them: each takes both cores for half a minute. */
const PROCESSES = /crash|killed|interleavings|worker-process|chaos/
/** Files that take long, most of it waiting. */
const LONG = /cli|docs-snippets|audit|refusing|legacy|notifications|relay|reactor|budgets|approvals|stop/
/** Of those, how many begin before the next one that starts processes. */
const BETWEEN = 3

/**
 * Begins with what takes longest, since what begins last keeps one core waiting for the other; and lets no two files
 * that start processes run at the same time, if it can.
 */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const processes = sorted.filter(({ moduleId }) => PROCESSES.test(moduleId))
    const others = sorted.filter((file) => !processes.includes(file))
    const first = others.filter(({ moduleId }) => LONG.test(moduleId))
    const last = others.filter((file) => !first.includes(file))
    return [...first, ...last]
      .flatMap((file, i) => {
        return i % BETWEEN === 0 ? [...processes.splice(0, 1), file] : [file]
      })
      .concat(processes)
  }
}
