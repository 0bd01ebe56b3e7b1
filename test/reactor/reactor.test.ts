import { describeOnPostgres, describeOnRedis } from '../support/servers.ts'
import { describeReactor } from './reactor-suite.ts'

describeOnPostgres('on', (server) => {
  describeReactor(server, 'postgres')
  if (server.version > 15) return
  describeReactor(server, 'memory')
  describeOnRedis('and', ({ url }) => {
    describeReactor(server, 'redis-pubsub', url)
    describeReactor(server, 'redis-streams', url)
  })
})
