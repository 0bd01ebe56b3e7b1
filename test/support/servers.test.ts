import { spawn } from 'node:child_process'
import { once } from 'node:events'
import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { startGuarded } from './guarded-server.ts'
import { isReachable } from './redis-server.ts'
import { createDatabase, describeOnPostgres, describeOnRedis, startRedis } from './servers.ts'
import { query } from './start-servers.ts'

describeOnPostgres('a database for a test', (server) => {
  it('is on the version that the suite names, and waits for its commits', async () => {
    const { rows } = await query(
      server.url,
      `select current_setting('server_version_num')::int / 10000 as version,
              current_setting('synchronous_commit') as synchronous`,
    )
    expect(rows).toEqual([{ version: server.version, synchronous: 'on' }])
  })

  it('is empty, its own, and gone after drop even while a connection is open', async () => {
    const first = await createDatabase(server)
    const second = await createDatabase(server)
    await query(first.url, 'create table seen ()')
    const { rows } = await query(second.url, `select count(*)::int as tables from pg_tables where tablename = 'seen'`)
    expect(rows).toEqual([{ tables: 0 }])
    const open = new pg.Client(first.url)
    const ended = new Promise((resolve) => open.on('error', resolve))
    await open.connect()
    await first.drop()
    await second.drop()
    expect(String(await ended)).toMatch('terminating connection')
    await expect(query(first.url, 'select 1')).rejects.toThrow('does not exist')
  })
})

describeOnRedis('a Redis of a test’s own', () => {
  it('can be stopped and started again on the same port', async () => {
    const first = await startRedis()
    await first.stop()
    expect(await isReachable(first.url, first.port)).toBe(false)
    const second = await startRedis({ port: first.port })
    expect(await isReachable(first.url, first.port)).toBe(true)
    await second.stop()
  })

  it('does not outlive a test process that is killed', async () => {
    const script = `import { startRedis } from ${JSON.stringify(new URL('./redis-server.ts', import.meta.url).href)}
      console.log((await startRedis()).url)
      setInterval(() => {}, 1_000)`
    const owner = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = (await once(owner.stdout, 'data')) as [Buffer]
    const url = line.toString().trim()
    expect(await isReachable(url, 0)).toBe(true)
    owner.kill('SIGKILL')
    await expect.poll(() => isReachable(url, 0)).toBe(false)
  })
})

describe('a server that can’t be started', () => {
  it('says what it printed', async () => {
    await expect(startGuarded('echo no such luck; exit 3')).rejects.toThrow('ended at once: no such luck')
  })
})
