import type { TestSpecification } from 'vitest/node'
import { BaseSequencer } from 'vitest/node'

/** Files that take longest, by the parts of the suite that they are in: processes that are killed, or many commands. */
const LONG = [/crash|killed|interleavings|worker-process/, /cli|docs-snippets/, /audit|refusing|legacy|relay|reactor/]

/** Begins with what takes longest: what begins last keeps one core waiting for the other. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => LONG.findIndex((part) => part.test(moduleId))
    const sorted = await super.sort(files)
    return sorted.toSorted((a, b) => (rank(a) >>> 0) - (rank(b) >>> 0)) // no rank, -1, becomes the last
  }
}
