import type { IncomingHttpHeaders } from 'node:http'
import { type ClaimedDelivery, type Endpoint, signatureHeaders } from '../../domains/deliveries/deliveries.ts'
import { AppError } from '../../foundation/app-error.ts'
import { withTimeout } from '../../foundation/backoff.ts'
import type { SendRequest } from '../../foundation/http/http.ts'
import { limits } from '../../limits.ts'
import type { SinkRequest } from './sinks.ts'

/** What became of one attempt. */
export type Transmitted = { readonly kind: 'arrived' } | Failed

interface Failed {
  readonly kind: 'failed'
  readonly error: string
  /** The endpoint says that it never wants more (410). */
  readonly gone: boolean
  /** How long it asks not to be tried again; 0: it does not say. */
  readonly retryAfterMs: number
}

const HEADERS = { 'content-type': 'application/json', 'user-agent': 'concordat', accept: '*/*' }

/** The request that tells a subscriber of an event: the event as CloudEvents JSON, signed. */
export function subscriberRequest(endpoint: Endpoint, { deliveryId, payload }: ClaimedDelivery, at: Date): SinkRequest {
  const headers = signatureHeaders({ id: deliveryId, at, body: payload }, endpoint.secrets)
  return { url: endpoint.url, headers: { 'content-type': 'application/cloudevents+json', ...headers }, body: payload }
}

/**
 * Sends one request. Only a status of 2xx counts as arrived; redirects are not followed, the answer's body is not read,
 * and after 10 s it has failed. What is told of a failure holds no part of the answer and nothing of the request's headers.
 */
export async function transmit(request: SinkRequest, send: SendRequest, signal: AbortSignal): Promise<Transmitted> {
  const { url, headers, body } = request
  const timeoutMs = limits.deliveryTimeoutMs
  try {
    const { status, retryAfterMs } = await withTimeout(
      async (deadline) => {
        const answer = await send(
          { method: 'POST', url: new URL(url), headers: { ...HEADERS, ...headers }, body },
          deadline,
        )
        answer.destroy()
        return { status: answer.statusCode ?? 0, retryAfterMs: retryAfterMsOf(answer.headers) }
      },
      { timeoutMs, onTimeout: () => new AppError('HTTP_FAILED', `no answer within ${timeoutMs / 1_000} s`), signal },
    )
    if (status >= 200 && status < 300) return { kind: 'arrived' }
    return { kind: 'failed', error: `status ${status}`, gone: status === 410, retryAfterMs }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return { kind: 'failed', error: message, gone: false, retryAfterMs: 0 }
  }
}

/** Seconds, or a time of the endpoint's clock (RFC 9110, section 10.2.3); no longer than our own tries are apart. */
export function retryAfterMsOf({ 'retry-after': after = '', date = '' }: IncomingHttpHeaders): number {
  const ms = /^\d+$/.test(after) ? Number(after) * 1_000 : Date.parse(after) - Date.parse(date)
  return ms > 0 ? Math.min(ms, limits.deliveryBackoffMsCap) : 0
}
