/** A place in an agent's code where the test waits for the run, or holds it. */
export class Gate {
  readonly #arrived = Promise.withResolvers<void>()
  readonly #opened = Promise.withResolvers<void>()

  /** Resolves when the agent has come to `pass()`. */
  get reached(): Promise<void> {
    return this.#arrived.promise
  }

  /** In the agent's code: tells that it is here, and waits for `open()`, or until the signal aborts. */
  pass(signal?: AbortSignal): Promise<void> {
    this.#arrived.resolve()
    if (!signal) return this.#opened.promise
    return new Promise((resolve, reject) => {
      this.#opened.promise.then(resolve)
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
  }

  open(): void {
    this.#opened.resolve()
  }
}

/** Gates by name, made when they are first asked for: the test and the agent's code meet at the same one. */
export class Gates {
  readonly #gates = new Map<string, Gate>()

  at(name: string): Gate {
    const gate = this.#gates.get(name) ?? new Gate()
    this.#gates.set(name, gate)
    return gate
  }
}
