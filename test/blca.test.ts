import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { audit } from '../scripts/blca.ts'

/** A small house without a fault; the numbered files make it large enough to be believed. */
const cleanHouse: Readonly<Record<string, string>> = {
  'limits.ts': 'export const limits = { stepsMax: 512 }',
  'foundation/clock.ts': `import { limits } from '../limits.ts'\nexport const clock = limits`,
  'foundation/storage/storage.ts': `export { open } from './open.ts'`,
  'foundation/storage/open.ts': `import { one } from './migrations/0001.ts'\nexport const open = one`,
  'foundation/storage/migrations/0001.ts': 'export const one = 1',
  'domains/runs/runs.ts': `import type { run } from './run.ts'\nexport type Run = typeof run`,
  'domains/runs/run.ts': `import { open } from '../../foundation/storage/storage.ts'\nexport const run = open`,
  'flow/kernel/kernel.ts': `import type { Run } from '../../domains/runs/runs.ts'\nexport type Kernel = Run`,
  'flow/relay/relay.ts': `import type { Kernel } from '../kernel/kernel.ts'\nexport type Relay = Kernel`,
  ...Object.fromEntries(Array.from({ length: 15 }, (_, n) => [`foundation/part-${n}.ts`, `export const n = ${n}`])),
}

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'concordat-blca-'))
})
afterEach(() => {
  rmSync(folder, { recursive: true })
})

function build(files: Readonly<Record<string, string>>): string {
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    writeFileSync(join(folder, file), text)
  }
  return folder
}

/** What the audit says about the clean house with these files added or replaced. */
function faultsOf(planted: Readonly<Record<string, string>>): string[] {
  return audit(build({ ...cleanHouse, ...planted })).violations.map(({ at, what }) => `${at} ${what}`)
}

function runCommand(): { status: number | null; stdout: string } {
  const script = fileURLToPath(new URL('../scripts/blca.ts', import.meta.url))
  return spawnSync(process.execPath, [script, folder], { encoding: 'utf8' })
}

describe('the layer check passes', () => {
  it('a clean tree, with the number of files on disk', () => {
    build(cleanHouse)
    expect(runCommand()).toMatchObject({ status: 0, stdout: 'BLCA clean: 0 violations, 24 files scanned\n' })
  })

  it('an index of nothing but re-exports', () => {
    const text = `export { type Run } from './domains/runs/runs.ts'\nexport * from './limits.ts'`
    expect(faultsOf({ 'index.ts': text })).toEqual([])
  })

  it('a test of a part that uses what tests share', () => {
    // Any folder beside the sources will do.
    expect(faultsOf({ 'foundation/clock.test.ts': `import '../..'` })).toEqual([])
  })
})

describe('the layer check fails', () => {
  it('and says where, what is forbidden and the way out', () => {
    build({ ...cleanHouse, 'domains/audit/audit.ts': `\nimport { run } from '../runs/runs.ts'\nexport { run }` })
    const { status, stdout } = runCommand()
    expect(status).toBe(1)
    expect(stdout.split('\n')).toEqual([
      'src/domains/audit/audit.ts:2 imports src/domains/runs/runs.ts, but domains may not import domains',
      '    way out: domains never meet: let the flow read the one and hand its values to the other',
      'BLCA failed: 1 violation, 25 files scanned',
      '',
    ])
  })

  it.each([
    ['static', `import { Run } from '../domains/runs/runs.ts'`],
    ['for its effects', `import '../domains/runs/runs.ts'`],
    ['of types only', `import type { Run } from '../domains/runs/runs.ts'`],
    ['inside a type', `export type Run = import('../domains/runs/runs.ts').Run`],
    ['dynamic', `export const load = () => import('../domains/runs/runs.ts')`],
    ['re-exporting names', `export { Run } from '../domains/runs/runs.ts'`],
    ['re-exporting all', `export * from '../domains/runs/runs.ts'`],
  ])('on an upward import: %s', (_, text) => {
    expect(faultsOf({ 'foundation/part-1.ts': text })).toEqual([
      'src/foundation/part-1.ts:1 imports src/domains/runs/runs.ts, but foundation may not import domains',
    ])
  })

  it('on one stage that imports another', () => {
    expect(faultsOf({ 'flow/intake/intake.ts': `import '../relay/relay.ts'` })).toEqual([
      'src/flow/intake/intake.ts:1 imports src/flow/relay/relay.ts, but flow/intake may not import flow/relay',
    ])
  })

  it.each([
    ['a domain', 'flow/relay/relay.ts', '../../domains/runs/run.ts'],
    ['a folder of the foundation', 'flow/relay/relay.ts', '../../foundation/storage/open.ts'],
    ['a folder inside its own part', 'foundation/clock.ts', './storage/open.ts'],
    ['the configuration', 'foundation/clock.ts', '../config-profile.ts'],
  ])('on an import past the face of %s', (_, file, specifier) => {
    const planted = {
      'config.ts': `import './config-profile.ts'`,
      'config-profile.ts': '',
      'foundation/part-1.ts': `import '../config.ts'`,
    }
    const faults = faultsOf({ ...planted, [file]: `${cleanHouse[file]}\nimport '${specifier}'` })
    expect(faults).toHaveLength(1)
    expect(faults[0]).toContain(`src/${file}:3 imports src/${join(dirname(file), specifier)}, past its face`)
  })

  it('on a cycle, of types too', () => {
    const text = `${cleanHouse['domains/runs/run.ts']}\nexport type { Run } from './runs.ts'`
    expect(faultsOf({ 'domains/runs/run.ts': text })).toEqual([
      'src/domains/runs/runs.ts:1 closes a cycle: src/domains/runs/run.ts → src/domains/runs/runs.ts → src/domains/runs/run.ts',
    ])
  })

  it.each(['helpers/text.ts', 'flow/planner/planner.ts', 'domains/stray.ts', 'stray.ts'])(
    'on a file on no layer: %s',
    (file) => {
      expect(faultsOf({ [file]: 'export const stray = 1' })).toEqual([`src/${file} lies on no layer`])
    },
  )

  it('on a row of the table that no import uses', () => {
    expect(faultsOf({ 'flow/relay/relay.ts': 'export const relay = 1' })).toEqual([
      'scripts/layers.ts flow may import flow/kernel, but no file does',
    ])
  })

  it('on an index that holds code', () => {
    expect(faultsOf({ 'index.ts': `export * from './limits.ts'\nexport const version = 1` })).toEqual([
      'src/index.ts holds more than `export … from`',
    ])
  })

  it('on an import that leads nowhere or out of the sources', () => {
    expect(
      faultsOf({ 'foundation/part-1.ts': `import './gone.ts'`, 'foundation/part-2.ts': `import '../..'` }),
    ).toEqual([
      'src/foundation/part-1.ts:1 imports src/foundation/gone.ts, which does not exist',
      'src/foundation/part-2.ts:1 imports ../.., outside src',
    ])
  })

  it('on too few files', () => {
    build({ 'limits.ts': 'export const limits = {}' })
    expect(runCommand()).toMatchObject({
      status: 1,
      stdout: expect.stringContaining('only 1 files: too few to be true'),
    })
    expect(audit(folder).files).toBe(1)
  })

  it.each([
    ['with a syntax error', 'foundation/broken.ts', 'export const = 1'],
    ['in another language', 'foundation/view.tsx', 'export const view = 1'],
  ])('on a file that it could not read: %s', (_, file, text) => {
    expect(faultsOf({ [file]: text })).toEqual([`src holds 25 files, but ${file} could not be read`])
  })
})
