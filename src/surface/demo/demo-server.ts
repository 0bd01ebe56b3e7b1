import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { PackageFile } from './package-files.ts'

const FAILURES_BEFORE_SUCCESS = 2

/** A local HTTP server for agents to call. */
export interface DemoServer {
  /** As in `127.0.0.1:43210`. */
  readonly host: string
  /** What was posted to it. */
  readonly reports: readonly unknown[]
  close(): Promise<void>
}

/** `GET /files` lists the package's files, `GET /flaky` fails twice before it works, `POST /reports` keeps the body. */
export async function startDemoServer(files: readonly PackageFile[]): Promise<DemoServer> {
  const reports: unknown[] = []
  let asked = 0
  const server = createServer(async (request, response) => {
    const answer = (status: number, body: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    }
    const route = `${request.method} ${request.url}`
    if (route === 'GET /files') return answer(200, { files })
    if (route === 'GET /flaky')
      return ++asked > FAILURES_BEFORE_SUCCESS ? answer(200, { asked }) : answer(503, { asked })
    if (route !== 'POST /reports') return answer(404, { error: 'not found' })
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    reports.push(JSON.parse(Buffer.concat(chunks).toString()))
    return answer(201, { kept: reports.length })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  return { host: `127.0.0.1:${port}`, reports, close: () => closed(server) }
}

function closed(server: Server): Promise<void> {
  server.closeAllConnections()
  return new Promise((resolve) => {
    server.close(() => resolve())
  })
}
