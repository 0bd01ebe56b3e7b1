/** What has been sent to the database and not been answered yet. */
export class UnderWay {
  #count = 0
  #waiting: (() => void)[] = []
  readonly #answered = () => {
    this.#count--
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }

  follow(promise: Promise<unknown>): void {
    this.#count++
    promise.then(this.#answered, this.#answered)
  }

  get isAny(): boolean {
    return this.#count > 0
  }

  /**
   * Resolves when the next of them is answered, however that goes. Look again then: there may be more, and while
   * there is none it never resolves.
   */
  answered(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
    })
  }
}
