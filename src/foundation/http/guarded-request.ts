import { lookup as dnsLookup, type LookupAddress } from 'node:dns'
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import { isIP, type LookupFunction } from 'node:net'
import { AppError } from '../app-error.ts'
import { publicAddressCheck } from './public-address.ts'

export interface HttpRequest {
  readonly method: string
  readonly url: URL
  readonly headers: OutgoingHttpHeaders
  readonly body: string | undefined
}

/** Sends one request and resolves with the answer's head; the body is still to be read. Follows no redirect. */
export type SendRequest = (request: HttpRequest, signal: AbortSignal) => Promise<IncomingMessage>

export interface GuardOptions {
  /** Hosts that may have private addresses, as `host` or `host:port`. */
  readonly allowedPrivateHosts: readonly string[]
  /** Resolves a host name to all its addresses; the system's resolver where it is left out. */
  readonly resolve?: (hostname: string, done: (error: Error | null, addresses: LookupAddress[]) => void) => void
}

/**
 * Returns a sender that refuses, with `HTTP_BLOCKED_ADDRESS`, hosts of which any address is not public. The address is
 * checked where the socket asks for it, and the socket connects to what was checked: a name that resolves to another
 * address a moment later gains nothing. Sockets are not shared with other code, whose connections nobody checked.
 */
export function guardedSender({ allowedPrivateHosts, resolve = resolveAll }: GuardOptions): SendRequest {
  const isPublic = publicAddressCheck()
  const allowed = new Set(allowedPrivateHosts.map((host) => host.toLowerCase()))

  const lookupPublic: LookupFunction = (hostname, options, done) => {
    resolve(hostname, (error, addresses) => {
      const blocked = addresses?.find(({ address }) => !isPublic(address))
      const [first] = addresses ?? []
      if (error) done(error, [])
      else if (blocked) done(blockedAddress(hostname, blocked.address), [])
      else if (options.all) done(null, addresses)
      else done(null, first?.address ?? '', first?.family)
    })
  }

  return async ({ method, url, headers, body }, signal) => {
    const hostname = hostOf(url)
    const isAllowed = allowed.has(hostname) || allowed.has(url.host)
    if (!isAllowed && isIP(hostname) && !isPublic(hostname)) throw blockedAddress(hostname, hostname)
    // Loaded here: Node loads all of its fetch with it, 70 ms that commands without a call need not wait for.
    const { request } = await (url.protocol === 'https:' ? import('node:https') : import('node:http'))
    return new Promise((answer, refuse) => {
      const options = { method, headers, signal, agent: false, ...(!isAllowed && { lookup: lookupPublic }) }
      request(url, options).on('response', answer).on('error', refuse).end(body)
    })
  }
}

/** Refuses, with `HTTP_BLOCKED_ADDRESS`, a URL with a private address in it. A name is looked up when it is called. */
export function refusePrivateAddress(url: URL, allowedPrivateHosts: readonly string[]): void {
  const hostname = hostOf(url)
  if (allowedPrivateHosts.some((host) => [hostname, url.host].includes(host.toLowerCase()))) return
  if (hostname === 'localhost' || (isIP(hostname) && !publicAddressCheck()(hostname)))
    throw blockedAddress(hostname, hostname)
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '')
}

const resolveAll: NonNullable<GuardOptions['resolve']> = (hostname, done) => dnsLookup(hostname, { all: true }, done)

function blockedAddress(hostname: string, address: string): AppError {
  const shown = hostname === address ? hostname : `${hostname} (${address})`
  return new AppError('HTTP_BLOCKED_ADDRESS', `${shown} is not an address of the public internet`, {
    hint: `Add ${JSON.stringify(hostname)} to allowedPrivateHosts if the call is meant.`,
    details: { hostname, address },
  })
}
