import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import { z } from 'zod'
import { defineSkill, type Secrets, type Skill, type SkillContext } from '../../../domains/agents/agents.ts'
import { AppError } from '../../../foundation/app-error.ts'
import { withTimeout } from '../../../foundation/backoff.ts'
import { type GuardOptions, guardedSender, type HttpRequest, type SendRequest } from '../../../foundation/http/http.ts'
import type { Json } from '../../../foundation/json.ts'
import { limits } from '../../../limits.ts'
import { followRedirects, isCallable, isSafe } from './follow-redirects.ts'
import { keptHeaders, readBody } from './read-answer.ts'

const TIMEOUT_MS_MAX = 600_000
const HEADERS_MAX = 64
const HEADER_CHARS_MAX = 8_192
const URL_CHARS_MAX = 8_192

// Set by the transport itself; a plan that sets them could reach another virtual host or split the request.
const TRANSPORT_HEADER =
  /^(host|connection|content-length|transfer-encoding|upgrade|te|trailer|keep-alive|expect|proxy-.*)$/i

const headerValue = z
  .string()
  .max(HEADER_CHARS_MAX)
  .regex(/^[^\r\n\0]*$/, 'must be one line')

const paramsSchema = z
  .strictObject({
    method: z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']).default('GET'),
    url: z
      .string()
      .max(URL_CHARS_MAX)
      .refine(isCallable, 'must be an http or https URL without user name and password'),
    /** A value may be a secret, by its name, so that it is not recorded: `{ secret: 'API_TOKEN', prefix: 'Bearer ' }`. */
    headers: z
      .record(
        z.string().regex(/^[\w!#$%&'*+.^`|~-]{1,200}$/, 'is not a header name'),
        z.union([headerValue, z.strictObject({ secret: z.string(), prefix: headerValue.default('') })]),
      )
      .refine((headers) => Object.keys(headers).length <= HEADERS_MAX, `at most ${HEADERS_MAX} headers`)
      .refine(
        (headers) => !Object.keys(headers).some((name) => TRANSPORT_HEADER.test(name)),
        'sets a header of the transport',
      )
      .default({}),
    /** A string is sent as it is, anything else as JSON. */
    body: z.custom<Json>().optional(),
    timeoutMs: z.int().min(1).max(TIMEOUT_MS_MAX).default(limits.httpCallTimeoutMs),
  })
  .refine(({ method, body }) => body === undefined || !isSafe(method), {
    path: ['body'],
    error: 'GET and HEAD have no body',
  })

type HttpCallParams = z.output<typeof paramsSchema>

/**
 * The skill `http_call`: one HTTP or HTTPS request, up to five redirects followed. Its output is `{ status, headers,
 * body }`, the body parsed where it is JSON; 4xx answers are outputs too. Fails with `HTTP_BLOCKED_ADDRESS` for hosts
 * with a private, loopback, link-local or otherwise special address that are not allowed, on each redirect as well;
 * with `HTTP_FAILED` for network errors, timeouts, 429 and 5xx (worth a retry), and for answers over 1 MiB (not).
 * GET and HEAD count as free of side effects; other methods send an `Idempotency-Key`.
 */
export function httpCallSkill(options: GuardOptions): Skill {
  const send = guardedSender(options)
  return defineSkill({
    name: 'http_call',
    params: paramsSchema,
    prepare: (params) => ({
      kind: 'tool',
      options: { sideEffects: !isSafe(params.method) },
      run: (context) => call(params, context, send),
    }),
  })
}

async function call(params: HttpCallParams, context: SkillContext, send: SendRequest): Promise<Json> {
  const request = firstRequest(params, context)
  const shown = `${request.method} ${request.url.origin}${request.url.pathname}` // without the query, which may hold secrets
  const { timeoutMs } = params
  const onTimeout = () => new AppError('HTTP_FAILED', `took longer than ${timeoutMs} ms`)
  try {
    return await withTimeout(async (signal) => outputOf(await followRedirects(request, signal, send)), {
      timeoutMs,
      onTimeout,
      signal: context.signal,
    })
  } catch (error) {
    if (context.signal.aborted) throw context.signal.reason
    throw failureOf(error, shown)
  }
}

function failureOf(error: unknown, shown: string): AppError {
  const message = error instanceof Error ? error.message : String(error)
  if (!(error instanceof AppError)) return new AppError('HTTP_FAILED', `${shown}: ${message}`, { cause: error })
  if (error.code !== 'HTTP_FAILED') return error
  const { kind, hint, details } = error
  return new AppError('HTTP_FAILED', `${shown}: ${message}`, { kind, hint, ...(details && { details }) })
}

function firstRequest({ method, url, headers, body }: HttpCallParams, context: SkillContext): HttpRequest {
  const isText = typeof body === 'string'
  return {
    method,
    url: new URL(url),
    headers: {
      accept: 'application/json, text/*;q=0.9, */*;q=0.5',
      'accept-encoding': 'gzip, br',
      'user-agent': 'concordat',
      ...(body !== undefined && !isText && { 'content-type': 'application/json' }),
      ...(!isSafe(method) && { 'idempotency-key': context.idempotencyKey }),
      ...headersOf(headers, context.secrets),
    },
    body: body === undefined || isText ? body : JSON.stringify(body),
  }
}

function headersOf(headers: HttpCallParams['headers'], secrets: Secrets): OutgoingHttpHeaders {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name.toLowerCase(),
      typeof value === 'string' ? value : value.prefix + secrets.get(value.secret),
    ]),
  )
}

async function outputOf(answer: IncomingMessage): Promise<Json> {
  const status = answer.statusCode ?? 0
  const headers = keptHeaders(answer)
  if (status === 429 || status >= 500) {
    answer.destroy()
    throw new AppError('HTTP_FAILED', `status ${status}`, { details: { status, headers } })
  }
  return { status, headers, body: await readBody(answer) }
}
