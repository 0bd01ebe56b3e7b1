import { connect } from 'node:net'
import { startGuarded } from './guarded-server.ts'

/** A Redis that tests may use. Only one that the tests started (`owned`) may be flushed or restarted. */
export type RedisServer = { url: string; owned: boolean }

/** A Redis of the caller's own. */
export type OwnRedis = RedisServer & { port: number; stop(): Promise<void> }

const script = `exec redis-server --bind 127.0.0.1 --port "$PORT" --dir "$FOLDER" --save '' --appendonly no`

/**
 * Starts an empty Redis that keeps nothing on disk. To restart one, `stop()` it and start another on its `port`.
 * Rejects where redis-server is not installed.
 */
export async function startRedis(options: { port?: number } = {}): Promise<OwnRedis> {
  const { port, stop } = await startGuarded(script, { port: options.port })
  return { url: `redis://127.0.0.1:${port}`, owned: true, port, stop }
}

/** Whether something answers at the URL's host and port. */
export function isReachable(url: string, defaultPort: number): Promise<boolean> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: port === '' ? defaultPort : Number(port), timeout: 2_000 })
    const answer = (reachable: boolean) => () => {
      socket.destroy()
      resolve(reachable)
    }
    socket.on('connect', answer(true)).on('error', answer(false)).on('timeout', answer(false))
  })
}
