import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import { AppError } from '../../../foundation/app-error.ts'
import type { HttpRequest, SendRequest } from '../../../foundation/http/http.ts'

const REDIRECTS_MAX = 5
const IMPERSONAL_HEADERS = new Set(['accept', 'accept-encoding', 'user-agent', 'content-type', 'idempotency-key'])

/** Sends the request, then what the answers redirect to. Fails with `HTTP_FAILED`, not worth a retry, after five. */
export async function followRedirects(
  first: HttpRequest,
  signal: AbortSignal,
  send: SendRequest,
): Promise<IncomingMessage> {
  let request = first
  for (let redirects = 0; ; redirects++) {
    const answer = await send(request, signal)
    const next = redirectOf(request, answer)
    if (!next) return answer
    answer.destroy()
    if (redirects === REDIRECTS_MAX) {
      throw new AppError('HTTP_FAILED', `${first.url.origin} redirects more than ${REDIRECTS_MAX} times`, {
        kind: 'terminal',
      })
    }
    request = next
  }
}

/** What to ask next, as browsers do it: https://fetch.spec.whatwg.org/#http-redirect-fetch */
function redirectOf(request: HttpRequest, answer: IncomingMessage): HttpRequest | undefined {
  const { location } = answer.headers
  const status = answer.statusCode ?? 0
  if (![301, 302, 303, 307, 308].includes(status) || location === undefined) return undefined
  const url = URL.parse(location, request.url.href)
  if (!url || !isCallable(url.href)) {
    throw new AppError('HTTP_FAILED', `${request.url.origin} redirects to what is not an http or https URL`, {
      kind: 'terminal',
    })
  }
  const headers = url.origin === request.url.origin ? request.headers : impersonal(request.headers)
  const becomesGet = !isSafe(request.method) && (status === 303 || (status < 303 && request.method === 'POST'))
  if (!becomesGet) return { ...request, url, headers }
  const { 'content-type': _type, 'idempotency-key': _key, ...rest } = headers
  return { method: 'GET', url, headers: rest, body: undefined }
}

/** Another host gets no header that may have been meant for the first one only. */
function impersonal(headers: OutgoingHttpHeaders): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => IMPERSONAL_HEADERS.has(name)))
}

/** Whether the text is a URL that may be called. A user name or password in it would be recorded. */
export function isCallable(text: string): boolean {
  const url = URL.parse(text)
  return url !== null && /^https?:$/.test(url.protocol) && !url.username && !url.password
}

/** Safe as in RFC 9110, section 9.2.1: the request changes nothing, so it may be sent again. */
export function isSafe(method: string): boolean {
  return method === 'GET' || method === 'HEAD'
}
