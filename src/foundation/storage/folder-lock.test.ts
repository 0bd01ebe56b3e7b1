import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { lockFolder } from './folder-lock.ts'

const temporary = mkdtempSync(join(tmpdir(), 'concordat-lock-'))
const file = join(temporary, 'file')
writeFileSync(file, '')
afterAll(() => rmSync(temporary, { recursive: true }))

describe('the folder of the embedded database', () => {
  it('is made with all above it', async () => {
    const folder = join(temporary, 'a', 'b')
    const unlock = await lockFolder(folder)
    await expect(lockFolder(folder)).rejects.toMatchObject({ code: 'EMBEDDED_LOCKED' })
    await unlock()
  })

  const unusable: [what: string, folder: string, reason: string][] = [
    ['is a file', file, 'ENOTDIR: not a directory'],
    ['lies below a file', join(file, 'a', 'b'), 'ENOTDIR: not a directory'],
    ['has too long a name', join(temporary, 'n'.repeat(300)), 'ENAMETOOLONG: name too long'],
  ]
  if (process.platform === 'linux') {
    unusable.push(['lies where nothing can be made', '/proc/x', 'ENOENT: no such file or directory'])
  }
  it.each(unusable)('that %s is a wrong configuration, said with the reason', async (_what, folder, reason) => {
    await expect(lockFolder(folder)).rejects.toMatchObject({
      code: 'INVALID_CONFIGURATION',
      message: `the embedded database can't use the folder ${folder}: ${reason}`,
      hint: expect.stringContaining('CONCORDAT_DATA_DIR'),
    })
  })
})
