import { createHmac, randomBytes } from 'node:crypto'

const PREFIX = 'whsec_'
const SECRET_BYTES = 32

/** A new secret as Standard Webhooks spells it: `whsec_` and base64. */
export function newSecret(): string {
  return PREFIX + randomBytes(SECRET_BYTES).toString('base64')
}

/** Whether the text is a secret that can sign: 24 to 64 bytes in base64, with or without the prefix. */
export function isSecret(text: string): boolean {
  const bytes = keyOf(text)
  return bytes.length >= 24 && bytes.length <= 64 && bytes.toString('base64') === text.replace(PREFIX, '')
}

export interface SignedMessage {
  /** The same in every attempt, so that a receiver can tell a repetition. */
  readonly id: string
  readonly at: Date
  readonly body: string
}

/**
 * The headers of Standard Webhooks (https://www.standardwebhooks.com, specification 1.0): one signature per secret, so
 * that during a rotation a receiver with either of them accepts the message.
 */
export function signatureHeaders({ id, at, body }: SignedMessage, secrets: readonly string[]): Record<string, string> {
  const timestamp = Math.floor(at.getTime() / 1_000)
  const signatures = secrets.map((secret) => {
    return `v1,${createHmac('sha256', keyOf(secret)).update(`${id}.${timestamp}.${body}`).digest('base64')}`
  })
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    ...(signatures.length > 0 && { 'webhook-signature': signatures.join(' ') }),
  }
}

function keyOf(secret: string): Buffer {
  return Buffer.from(secret.replace(PREFIX, ''), 'base64')
}
