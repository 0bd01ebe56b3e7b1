import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SkillContext } from '../../../domains/agents/agents.ts'
import type { GuardOptions } from '../../../foundation/http/http.ts'
import type { Json } from '../../../foundation/json.ts'
import { limits } from '../../../limits.ts'
import { httpCallSkill } from './http-call.ts'

type Handler = (request: IncomingMessage, response: ServerResponse) => void

const json = (response: ServerResponse, value: unknown) =>
  response.setHeader('content-type', 'application/problem+json; charset=utf-8').end(JSON.stringify(value))
const redirect = (response: ServerResponse, status: number, location: string) =>
  response.writeHead(status, { location }).end('ignored')

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request) text += chunk
  return text
}

const handlers: Record<string, Handler> = {
  '/json': (_, response) => json(response.setHeader('set-cookie', 'a=b').setHeader('etag', '"1"'), { ok: [1, null] }),
  '/text': (_, response) =>
    response.setHeader('content-type', 'text/plain; charset=iso-8859-1').end(Buffer.from([0x66, 0xfc])),
  '/not-json': (_, response) => response.setHeader('content-type', 'application/json').end('<html>'),
  '/gzip': (_, response) => response.setHeader('content-encoding', 'gzip').end(gzipSync('packed')),
  '/gzip-bomb': (_, response) => response.setHeader('content-encoding', 'gzip').end(gzipSync(Buffer.alloc(50_000_000))),
  '/gzip-broken': (_, response) => response.setHeader('content-encoding', 'gzip').end('not gzip'),
  '/large': (_, response) => response.end(Buffer.alloc(limits.httpCallResponseBytesMax + 1)),
  '/just-fits': (_, response) => response.end(Buffer.alloc(limits.httpCallResponseBytesMax, 'x')),
  '/missing': (_, response) => response.writeHead(404).end('no such page'),
  '/busy': (_, response) => response.writeHead(429, { 'retry-after': '7' }).end(),
  '/broken': (_, response) => response.writeHead(503).end('down'),
  '/hang-up': (request) => request.socket.destroy(),
  '/stalls': (_, response) => response.writeHead(200).write('a beginning'),
  '/loop': (_, response) => redirect(response, 302, '/loop'),
  '/hop': (_, response) => redirect(response, 302, '/echo'),
  '/see-other': (_, response) => redirect(response, 303, '/echo'),
  '/keep': (_, response) => redirect(response, 307, '/echo'),
  '/to-file': (_, response) => redirect(response, 302, 'file:///etc/passwd'),
  '/to': (request, response) => redirect(response, 302, new URL(request.url!, 'http://x').searchParams.get('url')!),
  '/echo': (request, response) => {
    bodyOf(request).then((body) => json(response, { method: request.method, headers: request.headers, body }))
  },
}

let server: Server
let port: number
let origin: string

beforeAll(async () => {
  server = createServer((request, response) => {
    const handler = handlers[new URL(request.url!, 'http://x').pathname]
    if (handler) handler(request, response)
    else response.writeHead(500).end()
  })
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready))
  port = (server.address() as AddressInfo).port
  origin = `http://127.0.0.1:${port}`
})

afterAll(() => {
  server.closeAllConnections()
  server.close()
})

interface CallOptions extends Partial<GuardOptions> {
  readonly signal?: AbortSignal
}

async function call(params: { readonly [key: string]: Json }, options: CallOptions = {}): Promise<Json> {
  const { signal = new AbortController().signal, ...guard } = options
  const skill = httpCallSkill({ allowedPrivateHosts: ['127.0.0.1'], ...guard })
  const step = skill.prepare(params)
  if (step.kind !== 'tool') throw new Error('not a tool')
  const context: SkillContext = {
    signal,
    attempt: 1,
    idempotencyKey: 'key-1',
    secrets: { get: (name) => `secret-${name}` },
  }
  return (await step.run(context)) as Json
}

const refusal = (fields: object) => expect.objectContaining(fields)

describe('an answer', () => {
  test('is status, kept headers and parsed JSON; cookies are not recorded', async () => {
    expect(await call({ url: `${origin}/json` })).toEqual({
      status: 200,
      headers: { 'content-type': 'application/problem+json; charset=utf-8', etag: '"1"' },
      body: { ok: [1, null] },
    })
  })

  test.each([
    ['/text', 'fü'],
    ['/not-json', '<html>'],
    ['/gzip', 'packed'],
  ])('%s is text in its charset, unpacked', async (path, body) => {
    expect(await call({ url: origin + path })).toMatchObject({ status: 200, body })
  })

  test('of a 4xx status is an output', async () => {
    expect(await call({ url: `${origin}/missing` })).toMatchObject({ status: 404, body: 'no such page' })
  })

  test('may be as large as the limit', async () => {
    const answer = await call({ url: `${origin}/just-fits` })
    expect((answer as { body: string }).body).toHaveLength(limits.httpCallResponseBytesMax)
  })

  test('of a HEAD request has no body', async () => {
    expect(await call({ method: 'HEAD', url: `${origin}/json` })).toMatchObject({ status: 200, body: '' })
  })
})

describe('a request', () => {
  test('sends a JSON body, an idempotency key, and secrets by name', async () => {
    const headers = { authorization: { secret: 'API', prefix: 'Bearer ' }, 'X-Plain': 'p' }
    expect(await call({ method: 'POST', url: `${origin}/echo`, headers, body: { a: 1 } })).toMatchObject({
      body: {
        method: 'POST',
        headers: {
          authorization: 'Bearer secret-API',
          'x-plain': 'p',
          'content-type': 'application/json',
          'idempotency-key': 'key-1',
          host: `127.0.0.1:${port}`,
        },
        body: '{"a":1}',
      },
    })
  })

  test('sends a text body as it is', async () => {
    const headers = { 'content-type': 'text/csv' }
    expect(await call({ method: 'PUT', url: `${origin}/echo`, headers, body: 'a,b' })).toMatchObject({
      body: { headers: { 'content-type': 'text/csv' }, body: 'a,b' },
    })
  })

  test('has side effects unless it is GET or HEAD', () => {
    const skill = httpCallSkill({ allowedPrivateHosts: [] })
    const sideEffects = (method: string) => skill.prepare({ method, url: 'http://x.example/' })
    expect(sideEffects('GET')).toMatchObject({ options: { sideEffects: false } })
    expect(sideEffects('HEAD')).toMatchObject({ options: { sideEffects: false } })
    expect(sideEffects('DELETE')).toMatchObject({ options: { sideEffects: true } })
  })

  test.each<{ readonly [key: string]: Json }>([
    { url: 'file:///etc/passwd' },
    { url: 'ftp://x.example/' },
    { url: '/relative' },
    { url: 'http://user:password@x.example/' },
    { url: 'http://x.example/', method: 'TRACE' },
    { url: 'http://x.example/', method: 'GET', body: 'x' },
    { url: 'http://x.example/', headers: { Host: 'internal' } },
    { url: 'http://x.example/', headers: { 'Content-Length': '5' } },
    { url: 'http://x.example/', headers: { a: 'b\r\nc: d' } },
    { url: 'http://x.example/', headers: { 'a b': 'c' } },
    { url: 'http://x.example/', timeoutMs: 0 },
    { url: 'http://x.example/', allowPrivate: true },
  ])('of %j is refused', (params) => {
    const skill = httpCallSkill({ allowedPrivateHosts: [] })
    expect(() => skill.prepare(params)).toThrow(refusal({ code: 'INVALID_PLAN' }))
  })
})

describe('a failure', () => {
  test.each([
    ['/busy', /status 429/],
    ['/broken', /status 503/],
    ['/hang-up', /hang up/],
  ])('of %s is worth a retry', async (path, message) => {
    await expect(call({ url: `${origin + path}?token=t` })).rejects.toThrow(
      refusal({ code: 'HTTP_FAILED', kind: 'retryable', message: expect.stringMatching(message) }),
    )
    await expect(call({ url: `${origin + path}?token=t` })).rejects.not.toThrow(/token/)
  })

  test('tells status and headers', async () => {
    await expect(call({ url: `${origin}/busy` })).rejects.toMatchObject({
      details: { status: 429, headers: { 'retry-after': '7' } },
    })
  })

  test.each(['/large', '/gzip-bomb', '/loop', '/to-file'])('of %s is not', async (path) => {
    await expect(call({ url: origin + path })).rejects.toThrow(refusal({ code: 'HTTP_FAILED', kind: 'terminal' }))
  })

  test('of unpacking is told', async () => {
    await expect(call({ url: `${origin}/gzip-broken` })).rejects.toThrow(refusal({ code: 'HTTP_FAILED' }))
  })

  test('of a port where nobody listens is worth a retry', async () => {
    await expect(call({ url: 'http://127.0.0.1:1/' })).rejects.toThrow(
      refusal({ code: 'HTTP_FAILED', kind: 'retryable' }),
    )
  })

  test('comes at the timeout, while the body stalls too', async () => {
    await expect(call({ url: `${origin}/stalls`, timeoutMs: 50 })).rejects.toThrow(
      refusal({ code: 'HTTP_FAILED', kind: 'retryable', message: expect.stringContaining('longer than 50 ms') }),
    )
  })

  test("is the signal's own reason when that aborts", async () => {
    const controller = new AbortController()
    const reason = new Error('stopped')
    const calling = call({ url: `${origin}/stalls` }, { signal: controller.signal })
    setTimeout(() => controller.abort(reason), 20)
    await expect(calling).rejects.toBe(reason)
  })
})

describe('a redirect', () => {
  test.each([
    ['GET', '/hop', 'GET', ''],
    ['POST', '/hop', 'GET', ''],
    ['PUT', '/hop', 'PUT', 'text'],
    ['PUT', '/see-other', 'GET', ''],
    ['POST', '/keep', 'POST', 'text'],
  ])('of %s %s becomes %s', async (method, path, followed, body) => {
    const sent = method === 'GET' ? {} : { body: 'text' }
    expect(await call({ method, url: origin + path, ...sent })).toMatchObject({ body: { method: followed, body } })
  })

  test('to another origin takes along no header that was meant for the first', async () => {
    const headers = { authorization: { secret: 'API' }, 'x-api-key': 'k', cookie: 'c', accept: 'text/html' }
    const url = `${origin}/to?url=${encodeURIComponent(`http://localhost:${port}/echo`)}`
    const allowedPrivateHosts = ['127.0.0.1', `localhost:${port}`]
    const answer = (await call({ url, headers }, { allowedPrivateHosts })) as { body: { headers: object } }
    expect(answer.body.headers).toMatchObject({ accept: 'text/html', host: `localhost:${port}` })
    expect(Object.keys(answer.body.headers)).not.toEqual(expect.arrayContaining(['authorization']))
    expect(Object.keys(answer.body.headers)).not.toEqual(expect.arrayContaining(['x-api-key']))
    expect(Object.keys(answer.body.headers)).not.toEqual(expect.arrayContaining(['cookie']))
  })

  test.each([
    'http://localhost:PORT/json',
    'http://[::1]:PORT/json',
    'http://[::ffff:127.0.0.1]:PORT/json',
    'http://127.0.0.2:PORT/json',
    'http://169.254.169.254/latest/meta-data',
  ])('to %s is refused', async (target) => {
    const url = `${origin}/to?url=${encodeURIComponent(target.replace('PORT', String(port)))}`
    await expect(call({ url })).rejects.toThrow(refusal({ code: 'HTTP_BLOCKED_ADDRESS', kind: 'terminal' }))
  })
})

describe('a host is refused', () => {
  test.each([
    'http://127.0.0.1:PORT/',
    'http://127.1:PORT/',
    'http://2130706433:PORT/',
    'http://0x7f000001:PORT/',
    'http://0:PORT/',
    'http://[::1]:PORT/',
    'http://[::ffff:7f00:1]:PORT/',
    'http://[64:ff9b::7f00:1]:PORT/',
    'http://localhost:PORT/',
    'https://localhost:PORT/',
  ])('as in %s', async (url) => {
    const calling = call({ url: url.replace('PORT', String(port)) }, { allowedPrivateHosts: [] })
    await expect(calling).rejects.toThrow(refusal({ code: 'HTTP_BLOCKED_ADDRESS' }))
  })

  test('when any of its addresses is private', async () => {
    const resolve: GuardOptions['resolve'] = (_hostname, done) =>
      done(null, [
        { address: '93.184.215.14', family: 4 },
        { address: '10.0.0.1', family: 4 },
      ])
    await expect(call({ url: 'http://mixed.example/' }, { resolve })).rejects.toThrow(
      refusal({ code: 'HTTP_BLOCKED_ADDRESS', message: expect.stringContaining('mixed.example (10.0.0.1)') }),
    )
  })

  test('by the one resolution that the socket connects with, so a second answer of the name servers is never asked for', async () => {
    let asked = 0
    const resolve: GuardOptions['resolve'] = (_hostname, done) => {
      asked++
      done(null, [{ address: asked === 1 ? '127.0.0.1' : '93.184.215.14', family: 4 }])
    }
    await expect(call({ url: `http://rebind.example:${port}/json` }, { resolve })).rejects.toThrow(
      refusal({ code: 'HTTP_BLOCKED_ADDRESS' }),
    )
    expect(asked).toBe(1)
  })

  test('only if it is not allowed, by its name or with its port', async () => {
    const url = `http://localhost:${port}/json`
    expect(await call({ url }, { allowedPrivateHosts: ['LOCALHOST'] })).toMatchObject({ status: 200 })
    expect(await call({ url }, { allowedPrivateHosts: [`localhost:${port}`] })).toMatchObject({ status: 200 })
    await expect(call({ url }, { allowedPrivateHosts: [`localhost:${port + 1}`] })).rejects.toThrow(
      refusal({ code: 'HTTP_BLOCKED_ADDRESS' }),
    )
  })

  test('and one that does not resolve is worth a retry', async () => {
    const resolve: GuardOptions['resolve'] = (hostname, done) => done(new Error(`ENOTFOUND ${hostname}`), [])
    await expect(call({ url: 'http://nowhere.example/' }, { resolve })).rejects.toThrow(
      refusal({ code: 'HTTP_FAILED', kind: 'retryable' }),
    )
  })
})
