import { readFileSync } from 'node:fs'
import { loosensStrict, type ProfileSettings, profileTable } from './config-profile.ts'
import { type Settings, type Variable, variables } from './config-variables.ts'
import { AppError } from './foundation/app-error.ts'
import { limits } from './limits.ts'

export type { GovernanceProfile, ObservabilityMode, PolicyCheckOnError } from './config-profile.ts'
export { environmentSecrets, type SecretSource } from './config-secrets.ts'
export type { EventTransport, PauseTimeoutBehavior, Settings } from './config-variables.ts'

/** Where a value came from; `option` is code or a command-line option. */
export type ConfigSource = 'default' | 'profile' | 'environment' | 'option'

/** What runs in this process. Some combinations fit only some of them. */
export type ProcessKind = 'single' | 'serve' | 'worker' | 'reactor'

/** The effective configuration: every setting decided, checked and frozen. */
export interface Config extends Settings {
  readonly storage: 'embedded' | 'postgres'
  /** Time between two heartbeats of a worker: three to a lease, and never rarer than every 3 s. */
  readonly heartbeatMs: number
  /** Policy decisions are made and recorded but not acted upon (`OBSERVE_ONLY`). */
  readonly policyDecisionsMuted: boolean
  readonly sources: Readonly<Record<keyof Settings, ConfigSource>>
}

export type Environment = Readonly<Record<string, string | undefined>>
export type ConfigOverrides = { readonly [Key in keyof Settings]?: Settings[Key] | undefined }

/**
 * Returns the effective configuration. An option wins over the environment, that over the profile, that over the
 * default; an empty variable counts as unset. Fails with `INVALID_CONFIGURATION`, which tells all problems at once:
 * values that can't be read, what would loosen the profile `STRICT`, combinations that can't work.
 */
export function loadConfig(
  env: Environment = process.env,
  overrides: ConfigOverrides = {},
  processKind: ProcessKind = 'single',
): Config {
  const { config, problems } = readConfig(env, overrides, processKind)
  if (problems.length > 0) throw invalidConfiguration(problems)
  return config
}

export interface ReadConfig {
  /** As far as it can be read: in the place of a value that can't stands the profile's, or the default. */
  readonly config: Config
  readonly problems: readonly string[]
  /** What is set and can't be read, as it may be shown. */
  readonly refused: ReadonlyMap<keyof Settings, string>
}

/** The same for who wants to look at it, with all problems told instead of failing. */
export function readConfig(
  env: Environment = process.env,
  overrides: ConfigOverrides = {},
  processKind: ProcessKind = 'single',
): ReadConfig {
  const problems: string[] = []
  const refused = new Map<keyof Settings, string>()
  const resolve = <Key extends keyof Settings>(key: Key, profile?: Settings['governanceProfile']) =>
    resolveSetting({ key, env, override: overrides[key], profile, problems, refused })

  const profile = resolve('governanceProfile').value
  const settings: Record<string, unknown> = {}
  const sources: Record<string, ConfigSource> = {}
  for (const key of settingKeys) {
    const { value, source } = resolve(key, profile)
    settings[key] = value
    sources[key] = source
  }
  const config = derive(settings as unknown as Settings, sources as Config['sources'])

  problems.push(...loosenings(config), ...contradictions(config, processKind))
  return { config: Object.freeze(config), problems: [...new Set(problems)], refused }
}

export interface EffectiveRow {
  readonly variable: string
  readonly value: string
  readonly source: ConfigSource
  /** What to know about the value; empty where it says all. */
  readonly note: string
}

/**
 * The effective configuration as rows for people, secrets masked, with what is not enforced said in the notes. What is
 * set and `refused` is shown as it is: nothing has taken its place.
 */
export function effectiveConfig(config: Config, refused: ReadConfig['refused'] = new Map()): EffectiveRow[] {
  return settingKeys.map((key) => {
    const { variable } = variables[key]
    const wrong = refused.get(key)
    if (wrong !== undefined) return { variable, value: wrong, source: 'environment', note: 'not valid' }
    return { variable, value: show(key, config[key]), source: config.sources[key], note: noteOn(key, config) }
  })
}

const settingKeys = Object.keys(variables) as (keyof Settings)[]
const profileKeys = Object.keys(profileTable) as (keyof ProfileSettings)[]

interface ResolveContext<Key extends keyof Settings> {
  readonly key: Key
  readonly env: Environment
  readonly override: Settings[Key] | undefined
  readonly profile: Settings['governanceProfile']
  readonly problems: string[]
  readonly refused: Map<keyof Settings, string>
}

interface Resolved<Value> {
  readonly value: Value
  readonly source: ConfigSource
}

function resolveSetting<Key extends keyof Settings>(context: ResolveContext<Key>): Resolved<Settings[Key]> {
  const { key, env, override, profile, problems, refused } = context
  const entry: Variable<Settings[Key]> = variables[key]
  const { kind, variable, secret } = entry
  const fallback: Resolved<Settings[Key]> =
    profile && isProfileKey(key)
      ? { value: profileTable[key][profile] as Settings[Key], source: 'profile' }
      : { value: entry.default, source: 'default' }

  const text = override === undefined ? readVariable(entry, env, problems) : undefined
  if (override === undefined && text === undefined) return fallback

  const parsed = kind.schema.safeParse(text === undefined ? override : kind.read(text))
  if (parsed.success) return { value: parsed.data, source: text === undefined ? 'option' : 'environment' }
  const name = text === undefined ? `Option ${key}` : variable
  const found = secret ? 'its value is not' : `${JSON.stringify(text ?? override)} is not`
  problems.push(`${name}: ${found} ${kind.expected}`)
  refused.set(key, secret ? variables[key].kind.show(String(text ?? override) as never) : String(text ?? override))
  return fallback
}

/** The variable's text, from the environment or, for a secret, from the file that NAME_FILE names. */
function readVariable(entry: Variable<unknown>, env: Environment, problems: string[]): string | undefined {
  const text = env[entry.variable]?.trim() || undefined
  const fileVariable = `${entry.variable}_FILE`
  const file = entry.secret && env[fileVariable]
  if (!file) return text
  if (text !== undefined) {
    problems.push(`${entry.variable} and ${fileVariable} are both set: unset one of them`)
    return text
  }
  try {
    return readFileSync(file, 'utf8').trim() || undefined
  } catch (error) {
    problems.push(`${fileVariable}: cannot read ${file} (${(error as NodeJS.ErrnoException).code})`)
    return undefined
  }
}

function derive(settings: Settings, sources: Config['sources']): Config {
  const { databaseUrl, redisUrl, leaseMs, pauseSlaMs, pauseNotifyBeforeTimeoutMs: notifyMs } = settings
  const defaultTransport = redisUrl ? 'redis-streams' : databaseUrl ? 'postgres' : 'memory'
  return {
    ...settings,
    eventTransport: sources.eventTransport === 'default' ? defaultTransport : settings.eventTransport,
    storage: databaseUrl ? 'postgres' : 'embedded',
    heartbeatMs: Math.min(limits.heartbeatMs, Math.floor(leaseMs / limits.heartbeatsPerLease)),
    // Whoever shortens only the pause is still warned in time.
    pauseNotifyBeforeTimeoutMs:
      sources.pauseNotifyBeforeTimeoutMs === 'default' ? Math.min(notifyMs, Math.floor(pauseSlaMs / 2)) : notifyMs,
    policyDecisionsMuted: settings.governanceProfile === 'OBSERVE_ONLY',
    sources: Object.freeze(sources),
  }
}

function loosenings(config: Config): string[] {
  if (config.governanceProfile !== 'STRICT') return []
  return profileKeys
    .filter((key) => loosensStrict(key, config[key]))
    .map((key) => {
      const demanded = show(key, profileTable[key].STRICT) + (profileTable[key].tighter === 'lower' ? ' or lower' : '')
      const setting = `${variables[key].variable}=${show(key, config[key])}`
      return `${setting} loosens GOVERNANCE_PROFILE=STRICT, which demands ${demanded}: unset it, or choose another profile`
    })
}

function contradictions(config: Config, processKind: ProcessKind): string[] {
  const { storage, eventTransport, redisUrl, pauseSlaMs, pauseNotifyBeforeTimeoutMs } = config
  const problems: string[] = []
  if (pauseNotifyBeforeTimeoutMs >= pauseSlaMs) {
    const sla = `PAUSE_SLA_SECONDS=${show('pauseSlaMs', pauseSlaMs)}`
    const notify = `PAUSE_NOTIFY_BEFORE_TIMEOUT_SECONDS=${show('pauseNotifyBeforeTimeoutMs', pauseNotifyBeforeTimeoutMs)}`
    problems.push(`${notify} warns of a pause before it begins, with ${sla}: make it shorter`)
  }
  if (eventTransport.startsWith('redis-') && !redisUrl) {
    problems.push(`EVENT_TRANSPORT=${eventTransport} needs REDIS_URL: set it, or use another transport`)
  }
  if (eventTransport === 'postgres' && storage === 'embedded') {
    problems.push('EVENT_TRANSPORT=postgres needs DATABASE_URL: set it, or use memory')
  }
  if (processKind === 'reactor' && storage === 'embedded') {
    problems.push('A reactor process needs DATABASE_URL: the embedded database belongs to a single process')
  } else if (processKind === 'reactor' && eventTransport === 'memory') {
    problems.push(
      'EVENT_TRANSPORT=memory reaches no other process, so a reactor process would hear nothing: use postgres',
    )
  }
  return problems
}

function invalidConfiguration(problems: readonly string[]): AppError {
  const [first, ...others] = problems
  const message =
    others.length === 0 ? `${first}` : `${problems.length} problems:\n${problems.map((p) => `  ${p}`).join('\n')}`
  return new AppError('INVALID_CONFIGURATION', message, { details: { problems } })
}

function show<Key extends keyof Settings>(key: Key, value: Settings[Key]): string {
  const entry: Variable<Settings[Key]> = variables[key]
  return value === undefined || value === null ? '(not set)' : entry.kind.show(value)
}

function noteOn(key: keyof Settings, config: Config): string {
  const notes: string[] = []
  if (variables[key].notEnforced) notes.push('not enforced by this version')
  if (key === 'databaseUrl' && config.storage === 'embedded') notes.push(`embedded database in ${config.dataDir}`)
  if (key === 'dataDir' && config.storage === 'postgres') notes.push('not used: DATABASE_URL is set')
  if (key === 'midExecutionPolicyCheckEnabled' && config.policyDecisionsMuted)
    notes.push('decisions muted by OBSERVE_ONLY')
  if (key === 'transactionCoordinatorEnabled' && !config[key]) {
    notes.push('legacy path: an interrupted completion may leave a part of the footprint')
  }
  if (key === 'auditAlertsEnabled' && !config.eventReactorEnabled) {
    notes.push('no alert is sent while EVENT_REACTOR_ENABLED is false')
  }
  return notes.join('; ')
}

function isProfileKey(key: keyof Settings): key is keyof ProfileSettings {
  return Object.hasOwn(profileTable, key)
}
