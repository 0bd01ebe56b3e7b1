/** What has been sent to the database and not been answered yet. */
export class UnderWay {
  readonly #promises = new Set<Promise<unknown>>()

  follow(promise: Promise<unknown>): void {
    const done = () => this.#promises.delete(promise)
    this.#promises.add(promise)
    promise.then(done, done)
  }

  get isAny(): boolean {
    return this.#promises.size > 0
  }

  /** Resolves when all that is under way now is answered, however that goes. Look again then: there may be more. */
  async answered(): Promise<void> {
    await Promise.allSettled(this.#promises)
  }
}
