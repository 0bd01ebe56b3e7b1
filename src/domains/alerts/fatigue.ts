import { limits } from '../../limits.ts'

/** Why a notification is held back. The alert itself is stored all the same. */
export const Suppression = Object.freeze({
  DUPLICATE: 'DUPLICATE',
  DOMAIN_COOLDOWN: 'DOMAIN_COOLDOWN',
  TENANT_RATE_LIMIT: 'TENANT_RATE_LIMIT',
})
export type Suppression = keyof typeof Suppression

/** How many notifications were held back, by why. */
export type HeldBack = { readonly [Why in Suppression]?: number }

/** What fatigue control remembers of a tenant; stored, so that a restart forgets nothing. Times in ms since the epoch, also of what is still to be sent. */
export interface FatigueState {
  /** When a key was last notified of. A key is what makes failures identical: type and subject, not the run. */
  readonly keys: Readonly<Record<string, number>>
  readonly domains: Readonly<Record<string, number>>
  /** The notifications of the last hour. */
  readonly sent: readonly number[]
  /** Held back since the last notification that told how many. */
  readonly held: HeldBack
  /** Notifications that are still to be sent, and can take more of their domain into their count: one a domain. */
  readonly open: readonly OpenNotification[]
}

export interface OpenNotification {
  readonly id: string
  readonly key: string
  readonly domain: string
  /** When it goes out, and until when that may be put off. */
  readonly until: number
  readonly latest: number
  readonly held: HeldBack
}

export const NO_FATIGUE: FatigueState = Object.freeze({ keys: {}, domains: {}, sent: [], held: {}, open: [] })

export const DUPLICATE_MS = 60_000
const RATE_WINDOW_MS = 3_600_000
const RATE_MAX = 100
const COOLDOWN_MS: Readonly<Record<string, number>> = Object.freeze({
  incidents: 300_000,
  policies: 600_000,
  logs: 60_000,
  orchestrator: 300_000,
  audit: 300_000,
})
const COOLDOWN_MS_OF_OTHERS = 300_000
const REMEMBERED_MS = Math.max(...Object.values(COOLDOWN_MS), DUPLICATE_MS)

/** What would be notified of. */
export interface Candidate {
  /** Of the notification that it would be. */
  readonly id: string
  readonly type: string
  readonly subject: string
  readonly domain: string
}

/** Pure. Whether a notification may go out now; null: it may. */
export function suppressionOf(state: FatigueState, candidate: Candidate, nowMs: number): Suppression | null {
  const within = (at: number | undefined, ms: number) => at !== undefined && nowMs - at < ms
  const { domain } = candidate
  if (within(state.keys[keyOf(candidate)], DUPLICATE_MS)) return 'DUPLICATE'
  if (within(state.domains[domain], COOLDOWN_MS[domain] ?? COOLDOWN_MS_OF_OTHERS)) return 'DOMAIN_COOLDOWN'
  return state.sent.filter((at) => within(at, RATE_WINDOW_MS)).length >= RATE_MAX ? 'TENANT_RATE_LIMIT' : null
}

/** Pure. The state after a notification was held back. One of its domain that is still to be sent waits for more of them. */
export function holdBack(
  state: FatigueState,
  why: Suppression,
  candidate: Pick<Candidate, 'domain'>,
  nowMs: number,
): FatigueState {
  const open = state.open.find(({ domain, until }) => domain === candidate.domain && nowMs < until)
  if (!open) return { ...state, held: plusOne(state.held, why) }
  const until = Math.max(open.until, Math.min(nowMs + limits.alertGroupMoreMs, open.latest))
  return {
    ...state,
    // Windows begin when people are told: what comes right after a flood was told of is no news.
    keys: { ...state.keys, [open.key]: until },
    domains: { ...state.domains, [open.domain]: until },
    open: [...state.open.filter((other) => other !== open), { ...open, until, held: plusOne(open.held, why) }],
  }
}

/**
 * Pure. The state after a notification that goes out at `untilMs`, later while others come that it can tell of, though
 * not after `latestMs`.
 */
export function notified(
  state: FatigueState,
  candidate: Candidate,
  nowMs: number,
  untilMs: number,
  latestMs = untilMs,
): FatigueState {
  const recent = (times: Readonly<Record<string, number>>) =>
    Object.fromEntries(Object.entries(times).filter(([, at]) => nowMs - at < REMEMBERED_MS))
  const { id, domain } = candidate
  const key = keyOf(candidate)
  return {
    keys: { ...recent(state.keys), [key]: untilMs },
    domains: { ...recent(state.domains), [domain]: untilMs },
    sent: [...state.sent.filter((at) => nowMs - at < RATE_WINDOW_MS), nowMs],
    held: {},
    open: [
      ...state.open.filter((other) => other.domain !== domain && nowMs < other.until),
      { id, key, domain, until: untilMs, latest: latestMs, held: state.held },
    ],
  }
}

export function sumHeld(a: HeldBack, b: HeldBack): HeldBack {
  const whys = new Set([...Object.keys(a), ...Object.keys(b)]) as Set<Suppression>
  return Object.fromEntries([...whys].map((why) => [why, (a[why] ?? 0) + (b[why] ?? 0)]))
}

function plusOne(held: HeldBack, why: Suppression): HeldBack {
  return { ...held, [why]: (held[why] ?? 0) + 1 }
}

function keyOf({ type, subject }: Candidate): string {
  return `${type} ${subject}`
}
