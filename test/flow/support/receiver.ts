import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { until } from './until.ts'

export interface Received {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** An HTTP server that keeps what it is sent and answers as it is told, 204 unless told. */
export class Receiver {
  readonly received: Received[] = []
  answer: (response: ServerResponse, nth: number) => void = (response) => void response.writeHead(204).end()
  readonly #server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      this.received.push({ path: request.url ?? '', headers: request.headers, body })
      this.answer(response, this.received.length)
    })
  })

  async listen(): Promise<this> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening')
    return this
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  get url(): string {
    return `http://${this.host}`
  }

  /** Waits until so many messages of which this holds have come, and returns those. */
  async got(count: number, isIt: (each: Received) => boolean = () => true): Promise<Received[]> {
    return until(
      async () => this.received.filter(isIt),
      (seen) => seen.length >= count,
    )
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }
}
