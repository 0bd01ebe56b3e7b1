import { Webhook } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import { isSecret, newSecret, signatureHeaders } from './signature.ts'

const message = {
  id: 'msg_1',
  at: new Date(),
  body: JSON.stringify({ type: 'run.completed', text: 'ümläut 👋 \u2028' }),
}

describe('a signature', () => {
  it('is accepted by the reference verifier, and a changed body or another secret is not', () => {
    const secret = newSecret()
    const headers = signatureHeaders(message, [secret])
    expect(new Webhook(secret).verify(message.body, headers)).toEqual(JSON.parse(message.body))
    expect(() => new Webhook(secret).verify(`${message.body} `, headers)).toThrow()
    expect(() => new Webhook(newSecret()).verify(message.body, headers)).toThrow()
  })

  it('is the one that the reference signs with', () => {
    const secret = newSecret()
    expect(signatureHeaders(message, [secret])['webhook-signature']).toBe(
      new Webhook(secret).sign(message.id, message.at, message.body),
    )
  })

  it('is there twice during a rotation: both secrets accept the message', () => {
    const secrets = [newSecret(), newSecret()]
    const headers = signatureHeaders(message, secrets)
    for (const secret of secrets) expect(new Webhook(secret).verify(message.body, headers)).toBeDefined()
  })

  it.each([
    ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', true],
    ['MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', true],
    ['whsec_c2hvcnQ=', false],
    ['not base64 at all, though it is long enough to be', false],
    ['', false],
  ])('takes a secret of 24 to 64 bytes: %s %s', (secret, ok) => {
    expect(isSecret(secret)).toBe(ok)
  })
})
