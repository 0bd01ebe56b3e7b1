import { randomBytes } from 'node:crypto'
import { query, startServers } from '../support/start-servers.ts'

/** A PostgreSQL, the one at hand or one that is started, in which each use gets an empty database that is dropped afterwards. */
export async function openServer() {
  const { servers, stop } = await startServers(process.env)
  const [server] = servers.postgres
  if (!server) throw new Error(`no PostgreSQL: ${servers.missing.map(({ reason }) => reason).join('; ')}`)
  return {
    stop,
    async withDatabase<T>(work: (url: string) => Promise<T>): Promise<T> {
      const name = `concordat_torture_${randomBytes(4).toString('hex')}`
      await query(server.url, `create database ${name}`)
      const url = new URL(server.url)
      url.pathname = name
      try {
        return await work(url.href)
      } finally {
        await query(server.url, `drop database if exists ${name} with (force)`)
      }
    },
  }
}
