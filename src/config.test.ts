import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  type ConfigOverrides,
  type Environment,
  effectiveConfig,
  loadConfig,
  type ProcessKind,
  readConfig,
} from './config.ts'
import { loosensStrict, profileTable } from './config-profile.ts'
import { variables } from './config-variables.ts'
import type { AppError } from './foundation/app-error.ts'

function problemsOf(env: Environment, overrides: ConfigOverrides = {}, processKind: ProcessKind = 'single'): unknown {
  try {
    loadConfig(env, overrides, processKind)
  } catch (error) {
    expect(error).toMatchObject({ code: 'INVALID_CONFIGURATION' })
    return (error as AppError).details?.problems
  }
  return []
}

describe('the configuration', () => {
  it('is, with nothing set, embedded and as documented', () => {
    expect(loadConfig({})).toMatchObject({
      storage: 'embedded',
      dataDir: '.concordat',
      eventTransport: 'memory',
      workerConcurrency: 50,
      leaseMs: 10_000,
      heartbeatMs: 3_000,
      runTimeoutMs: 3_600_000,
      transactionCoordinatorEnabled: false,
      transactionFallbackToLegacy: true,
      observabilityMode: 'DEGRADED',
      policyDecisionsMuted: false,
    })
  })

  it('reads values in the unit of their variable', () => {
    const config = loadConfig({
      LEASE_SECONDS: '1.5',
      OUTBOX_RETENTION_HOURS: '2',
      RAC_ROLLBACK_AUDIT_ENABLED: 'FALSE',
    })
    expect(config).toMatchObject({ leaseMs: 1_500, heartbeatMs: 500, outboxRetentionMs: 7_200_000 })
    expect(config.racRollbackAuditEnabled).toBe(false)
  })

  it('warns of a pause in time also where only the pause is shortened', () => {
    const notifyMs = (env: Environment) => loadConfig(env).pauseNotifyBeforeTimeoutMs
    expect(notifyMs({})).toBe(300_000)
    expect(notifyMs({ PAUSE_SLA_SECONDS: '60' })).toBe(30_000)
    expect(notifyMs({ PAUSE_SLA_SECONDS: '60', PAUSE_NOTIFY_BEFORE_TIMEOUT_SECONDS: '0' })).toBe(0)
  })

  it('lets an option win over the environment, that over the profile, that over the default', () => {
    const env = { GOVERNANCE_PROFILE: 'STANDARD', OBSERVABILITY_MODE: 'PERMISSIVE', WORKER_CONCURRENCY: '7' }
    const config = loadConfig(env, { workerConcurrency: 9, leaseMs: undefined })
    expect(config).toMatchObject({
      workerConcurrency: 9,
      observabilityMode: 'PERMISSIVE',
      transactionCoordinatorEnabled: true,
      leaseMs: 10_000,
    })
    expect(config.sources).toMatchObject({
      workerConcurrency: 'option',
      observabilityMode: 'environment',
      transactionCoordinatorEnabled: 'profile',
      leaseMs: 'default',
    })
  })

  it('takes an empty variable as unset and can not be changed', () => {
    const config = loadConfig({ DATABASE_URL: '', PORT: '  ' })
    expect(config).toMatchObject({ storage: 'embedded', port: 8080 })
    expect(Object.isFrozen(config) && Object.isFrozen(config.sources)).toBe(true)
  })

  it.each([
    [{}, 'memory'],
    [{ DATABASE_URL: 'postgres://db/x' }, 'postgres'],
    [{ DATABASE_URL: 'postgresql://db/x', REDIS_URL: 'redis://r' }, 'redis-streams'],
    [{ DATABASE_URL: 'postgres://db/x', REDIS_URL: 'rediss://r', EVENT_TRANSPORT: 'postgres' }, 'postgres'],
  ])('with %o carries events by %s', (env, transport) => {
    expect(loadConfig(env).eventTransport).toBe(transport)
  })

  it('tells all its problems at once', () => {
    const env = { PORT: 'http', LEASE_SECONDS: '0', LOG_LEVEL: 'loud', GOVERNANCE_PROFILE: 'LAX', RETENTION_DAYS: '30' }
    expect(problemsOf(env, { workerConcurrency: 0.5 })).toEqual([
      'GOVERNANCE_PROFILE: "LAX" is not one of STRICT, STANDARD, OBSERVE_ONLY',
      'Option workerConcurrency: 0.5 is not an integer from 1 to 10000',
      'LEASE_SECONDS: "0" is not 1 to 3600 seconds',
      'RETENTION_DAYS: "30" is not 180 to 36500 days',
      'PORT: "http" is not an integer from 0 to 65535',
      'LOG_LEVEL: "loud" is not one of debug, info, warn, error, silent',
    ])
  })

  it.each<[Environment, ProcessKind, RegExp]>([
    [{ EVENT_TRANSPORT: 'kafka' }, 'single', /"kafka" is not one of memory, postgres, redis-pubsub, redis-streams/],
    [{ EVENT_TRANSPORT: 'redis-streams' }, 'single', /needs REDIS_URL/],
    [{ EVENT_TRANSPORT: 'redis-pubsub' }, 'single', /needs REDIS_URL/],
    [{ EVENT_TRANSPORT: 'postgres' }, 'single', /needs DATABASE_URL/],
    [{ PAUSE_NOTIFY_BEFORE_TIMEOUT_SECONDS: '3600' }, 'single', /=3600 warns of a pause before it begins/],
    [{ PAUSE_SLA_SECONDS: '9', PAUSE_NOTIFY_BEFORE_TIMEOUT_SECONDS: '10' }, 'single', /with PAUSE_SLA_SECONDS=9/],
    [{ PAUSE_SLA_SECONDS: '0' }, 'single', /"0" is not 1 to/],
    [{ PAUSE_TIMEOUT_BEHAVIOR: 'FORGET' }, 'single', /not one of TERMINATE, CONTINUE, ESCALATE/],
    [{}, 'reactor', /embedded database belongs to a single process/],
    [{ DATABASE_URL: 'postgres://db/x', EVENT_TRANSPORT: 'memory' }, 'reactor', /would hear nothing/],
  ])('refuses %o in a %s process', (env, processKind, message) => {
    expect(problemsOf(env, {}, processKind)).toEqual([expect.stringMatching(message)])
  })
})

describe('the profile STRICT', () => {
  it('refuses each variable that would loosen it, and says what it demands', () => {
    const env = {
      GOVERNANCE_PROFILE: 'STRICT',
      TRANSACTION_FALLBACK_TO_LEGACY: 'true',
      POLICY_CHECK_MIN_STEPS: '2',
      OBSERVABILITY_MODE: 'DEGRADED',
    }
    expect(problemsOf(env, { auditAlertsEnabled: false })).toEqual([
      'AUDIT_ALERTS_ENABLED=false loosens GOVERNANCE_PROFILE=STRICT, which demands true: unset it, or choose another profile',
      expect.stringContaining('POLICY_CHECK_MIN_STEPS=2 loosens GOVERNANCE_PROFILE=STRICT, which demands 1 or lower'),
      expect.stringContaining('TRANSACTION_FALLBACK_TO_LEGACY=true loosens'),
      expect.stringContaining('OBSERVABILITY_MODE=DEGRADED loosens'),
    ])
  })

  it('may be tightened, and be said twice', () => {
    const env = { GOVERNANCE_PROFILE: 'STRICT', POLICY_CHECK_INTERVAL_SECONDS: '5', OBSERVABILITY_MODE: 'STRICT' }
    expect(loadConfig(env).policyCheckIntervalMs).toBe(5_000)
  })

  it('is in each of its settings at least as tight as the other profiles', () => {
    for (const key of Object.keys(profileTable) as (keyof typeof profileTable)[]) {
      const { STRICT, STANDARD, OBSERVE_ONLY } = profileTable[key]
      for (const value of [STANDARD, OBSERVE_ONLY]) {
        expect(value === STRICT || loosensStrict(key, value), `${key} ${value}`).toBe(true)
      }
      expect(loosensStrict(key, STRICT), key).toBe(false)
    }
  })
})

describe('the profile OBSERVE_ONLY', () => {
  it('mutes policy decisions', () => {
    expect(loadConfig({ GOVERNANCE_PROFILE: 'OBSERVE_ONLY' }).policyDecisionsMuted).toBe(true)
  })
})

describe('a secret', () => {
  it('may come from a file, but not from two places', () => {
    const folder = mkdtempSync(join(tmpdir(), 'concordat-config-'))
    const file = join(folder, 'url')
    writeFileSync(file, 'postgres://app:hunter2@db/x\n')
    try {
      expect(loadConfig({ DATABASE_URL_FILE: file }).databaseUrl).toBe('postgres://app:hunter2@db/x')
      expect(problemsOf({ DATABASE_URL_FILE: file, DATABASE_URL: 'postgres://db/x' })).toEqual([
        'DATABASE_URL and DATABASE_URL_FILE are both set: unset one of them',
      ])
      expect(problemsOf({ DATABASE_URL_FILE: join(folder, 'none') })).toEqual([expect.stringContaining('ENOENT')])
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('is shown neither in a problem nor in the effective configuration', () => {
    expect(problemsOf({ DATABASE_URL: 'mysql://app:hunter2@db/x' })).toEqual([
      'DATABASE_URL: its value is not a URL that begins with postgres:// or postgresql://',
    ])
    const config = loadConfig({ DATABASE_URL: 'postgres://app:hunter2@db/x?sslpassword=hunter2' })
    const shown = JSON.stringify(effectiveConfig(config))
    expect(shown).not.toContain('hunter2')
    expect(shown).toContain('postgres://app:***@db/x')
  })
})

describe('the effective configuration', () => {
  it('shows what is set and refused, secrets masked, not what would stand in its place', () => {
    const wrongs = { DATABASE_URL: 'mysql://app:hunter2@db/x', REDIS_URL: 'app:hunter2', LEASE_SECONDS: 'x' }
    const { config, refused } = readConfig(wrongs)
    const rows = effectiveConfig(config, refused).filter(({ note }) => note === 'not valid')
    expect(rows.map(({ variable, value, source }) => [variable, value, source])).toEqual([
      ['DATABASE_URL', 'mysql://app:***@db/x', 'environment'],
      ['REDIS_URL', '***', 'environment'],
      ['LEASE_SECONDS', 'x', 'environment'],
    ])
  })

  it('has a row for each variable, with its source and what to know', () => {
    const rows = effectiveConfig(loadConfig({ LEASE_SECONDS: '5' }))
    expect(rows.map((row) => row.variable)).toEqual(Object.values(variables).map((entry) => entry.variable))
    expect(rows).toContainEqual({ variable: 'LEASE_SECONDS', value: '5', source: 'environment', note: '' })
    expect(rows).toContainEqual({
      variable: 'DATABASE_URL',
      value: '(not set)',
      source: 'default',
      note: 'embedded database in .concordat',
    })
    expect(rows.find((row) => row.variable === 'AUDIT_ALERTS_ENABLED')?.note).toContain('no alert is sent')
    expect(rows.find((row) => row.variable === 'PORT')?.note).toBe('not enforced by this version')
  })
})
