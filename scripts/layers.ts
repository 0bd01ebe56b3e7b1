/**
 * The house as data: which layers there are, and which may import which. `npm run blca` holds every import of `src`
 * against it, both ways: each import needs a row here, and each row an import.
 */

/**
 * A layer's files, by their path below `src`. What the pattern matches is the name of the part that a file belongs to
 * (`domains/runs/`): inside a part all may import all, and parts of one layer are strangers unless a row says otherwise.
 */
export const layers: Readonly<Record<string, RegExp>> = {
  limits: /^limits(?=(\.test)?\.ts$)/,
  config: /^config(?=[-.][a-z.-]*ts$)/,
  foundation: /^foundation\//,
  domains: /^domains\/[^/]+\//,
  'flow/kernel': /^flow\/kernel\//,
  'flow/intake': /^flow\/intake\//,
  'flow/execution': /^flow\/execution\//,
  'flow/completion': /^flow\/completion\//,
  'flow/stopping': /^flow\/stopping\//,
  'flow/relay': /^flow\/relay\//,
  'flow/reactor': /^flow\/reactor\//,
  'flow/delivery': /^flow\/delivery\//,
  'flow/maintenance': /^flow\/maintenance\//,
  'flow/reconciliation': /^flow\/reconciliation\//,
  runtime: /^runtime(?=(-[a-z]+)?(\.test)?\.ts$)/,
  surface: /^surface\/[^/]+\//,
  testing: /^testing\//,
  index: /^index(?=\.ts$)/,
}

export type Row = { from: string; to: string; why: string }

/** What may be imported across parts. `flow` means each of its stages, `*` every layer. */
export const rows: readonly Row[] = [
  { from: '*', to: 'limits', why: 'every bound is in one place' },
  { from: '*', to: 'config', why: 'what is configured is typed in one place' },
  { from: '*', to: 'foundation', why: 'the ground floor, which knows no domain’s rules' },
  { from: 'flow', to: 'domains', why: 'a stage asks the domains to decide, read and write, through their faces' },
  { from: 'flow', to: 'flow/kernel', why: 'whoever moves a run goes through the kernel' },
  { from: 'flow', to: 'flow/completion', why: 'whoever ends a run goes through the completion' },
  { from: 'runtime', to: '*', why: 'the composition root builds every part' },
  { from: 'surface', to: 'runtime', why: 'a command or a server is a runtime with a face for people' },
  { from: 'surface', to: 'flow', why: 'changes go through the flow' },
  { from: 'surface', to: 'domains', why: 'reads bypass the flow' },
  {
    from: 'surface',
    to: 'surface',
    why: 'commands are programs that use the library, replay and what the demo shares',
  },
  { from: 'testing', to: '*', why: 'tests build a runtime of parts of their choice' },
  { from: 'index', to: '*', why: 'the public API is chosen from every part' },
]

/** What to do instead where an import across parts has no row. */
export const waysOut: readonly { from: string; to: string; wayOut: string }[] = [
  {
    from: 'domains',
    to: 'domains',
    wayOut: 'domains never meet: let the flow read the one and hand its values to the other',
  },
  {
    from: 'flow',
    to: 'flow',
    wayOut:
      'stages meet only through tables and events; the faces that they share are the kernel’s and the completion’s',
  },
  {
    from: '*',
    to: '*',
    wayOut: 'imports point down: take what is needed as an argument, or move the code to the floor that may know it',
  },
]

/** Folders without a face: a floor's parts are entered one by one, and each migration stands alone. */
export const openFolders: readonly string[] = [
  'domains',
  'flow',
  'surface',
  'foundation',
  'foundation/storage/migrations',
]

/** The file that may hold nothing but `export … from`. */
export const reExportsOnly = 'index.ts'

/** Fewer files can't be all of `src`. */
export const filesMin = 20
