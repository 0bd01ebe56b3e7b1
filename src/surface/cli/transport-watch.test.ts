import { expect, test } from 'vitest'
import { tellOutages, watchTransport } from './transport-watch.ts'

function recorder() {
  const lines: string[] = []
  const plain = (_style: unknown, text: string) => text
  const err = (line: string) => void lines.push(line)
  const terminal = { out: err, err, live: () => () => {}, columns: 80, style: plain, styleErr: plain }
  return { lines, terminal: { ...terminal, unread: new AbortController().signal } }
}

test('each outage of Redis is told once, and its end once', () => {
  const { lines, terminal } = recorder()
  const told = tellOutages(terminal, false)
  for (const healthy of [true, false, false, true, true, false]) told({ healthy })
  const away = 'BUS_UNREACHABLE  Redis does not answer: nothing is published; events wait in the outbox'
  expect(lines).toEqual([away, 'Redis answers again.', away])
})

test('for tools it is one JSON object a line', () => {
  const { lines, terminal } = recorder()
  const told = tellOutages(terminal, true)
  for (const healthy of [false, true]) told({ healthy })
  expect(lines.map((line) => JSON.parse(line))).toEqual([
    { error: expect.objectContaining({ code: 'BUS_UNREACHABLE', hint: expect.any(String) }) },
    { recovered: { code: 'BUS_UNREACHABLE' } },
  ])
})

test('a Redis that is away from the start is told', async () => {
  const { lines, terminal } = recorder()
  const watch = await watchTransport(
    { eventTransport: 'redis-streams', redisUrl: 'redis://127.0.0.1:9' },
    terminal,
    false,
  )
  const look = () => {
    watch.look()
    return lines.length
  }
  await expect.poll(look, { timeout: 10_000 }).toBe(1)
  await watch.stop()
  expect(lines[0]).toMatch(/^BUS_UNREACHABLE /)
})
