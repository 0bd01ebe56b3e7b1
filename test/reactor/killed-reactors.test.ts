import { expect, it } from 'vitest'
import { createDatabase, describeOnPostgres, describeOnRedis, startRedis } from '../support/servers.ts'
import { killReactors } from '../torture/kill-reactors.ts'

describeOnPostgres('three reactor processes, two of them killed, Redis restarted', (server) => {
  describeOnRedis('and', () => {
    it('handle every event once, and those of a run in order', async () => {
      const { url, drop } = await createDatabase(server)
      const wrong = await killReactors({
        databaseUrl: url,
        redis: await startRedis(),
        restart: (port) => startRedis({ port }),
        transport: server.version > 15 ? 'redis-pubsub' : 'redis-streams',
        events: 5_000,
        patienceMs: 60_000,
        say: () => {},
      })
      expect(wrong).toEqual([])
      await drop()
    })
  })
})
