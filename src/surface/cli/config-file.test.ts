import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { loadConfigFile } from './config-file.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'concordat-config-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const write = (name: string, text: string) => writeFileSync(join(folder, name), text)

describe('the configuration file', () => {
  test.each(['ts', 'mts', 'js', 'mjs'])('is found as concordat.config.%s', async (ending) => {
    write(`concordat.config.${ending}`, 'export default { allowedPrivateHosts: ["localhost"] }')
    const { path, definition } = await loadConfigFile(folder, undefined)
    expect(path).toBe(join(folder, `concordat.config.${ending}`))
    expect(definition).toEqual({ allowedPrivateHosts: ['localhost'] })
  })

  test('may be missing, unless one is asked for', async () => {
    expect(await loadConfigFile(folder, undefined)).toEqual({ path: null, definition: {} })
    await expect(loadConfigFile(folder, 'mine.ts')).rejects.toThrow(
      expect.objectContaining({
        code: 'INVALID_CONFIGURATION',
        message: 'mine.ts: there is no such file',
        hint: expect.stringMatching(/^Name a file that exists/),
      }),
    )
  })

  test.each([
    ['that can’t be parsed', 'export default {', /^c\.mjs: ./],
    ['whose code throws', 'throw new TypeError("no such thing")', /^c\.mjs: TypeError: no such thing/],
    ['that throws something else', 'throw "a text"', /^c\.mjs: a text/],
    ['that imports what is not there', 'import "not-installed-anywhere"', /^c\.mjs: .*not-installed-anywhere/],
    ['without a default export', 'export const a = 1', /^c\.mjs: it has no default export/],
    ['that exports no object', 'export default 5', /^c\.mjs: .*expected object/],
    ['with an unknown key', 'export default { agent: [] }', /^c\.mjs: .*"agent"/],
    ['whose agents are no list', 'export default { agents: {} }', /^c\.mjs: .*expected array/],
    ['with an agent that is none', 'export default { agents: [1] }', /is not what defineAgent returns/],
    ['with a hook that is no function', 'export default { authorize: true }', /is not a function/],
  ])('%s is refused, with file and reason', async (_what, text, message) => {
    write('c.mjs', text)
    await expect(loadConfigFile(folder, 'c.mjs')).rejects.toThrow(
      expect.objectContaining({ code: 'INVALID_CONFIGURATION', message: expect.stringMatching(message) }),
    )
  })
})
