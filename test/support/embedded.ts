import { cpSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { inject } from 'vitest'
import { openEmbedded } from '../../src/foundation/storage/storage.ts'
import { embeddedSnapshot } from '../../src/testing/testing.ts'

const POLL_MS = 50

/** An embedded database with the schema, to start others from: making one takes several seconds. */
export async function sharedSnapshot(): Promise<Blob> {
  const path = await madeOnce('snapshot', async (unfinished) => {
    writeFileSync(unfinished, Buffer.from(await (await embeddedSnapshot()).arrayBuffer()))
  })
  return new Blob([readFileSync(path)])
}

/** Puts an embedded database with the schema where the command line looks for it in the folder of a project. */
export async function copyEmbeddedInto(project: string): Promise<void> {
  const path = await madeOnce('folder', async (unfinished) => {
    const database = await openEmbedded({ dataDir: unfinished, snapshot: await sharedSnapshot() })
    await database.close()
  })
  cpSync(path, join(project, '.concordat'), { recursive: true })
}

/** Made by the first test process that needs it, for all of this run of the tests: two at a time take twice as long. */
async function madeOnce(name: string, make: (path: string) => Promise<void>): Promise<string> {
  const path = join(inject('sharedFolder'), name)
  if (isFirst(`${path}.begun`)) {
    await make(`${path}.unfinished`)
    renameSync(`${path}.unfinished`, path)
  }
  while (!existsSync(path)) await pause(POLL_MS)
  return path
}

function isFirst(begun: string): boolean {
  try {
    writeFileSync(begun, '', { flag: 'wx' })
    return true
  } catch {
    return false
  }
}
