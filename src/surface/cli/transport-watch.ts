import type { Config } from '../../config.ts'
import { AppError } from '../../foundation/app-error.ts'
import { type Bus, createBus } from '../../foundation/bus/bus.ts'
import { silentLogger } from '../../foundation/log.ts'
import type { Terminal } from './terminal.ts'

/** Says on standard error that the event transport is away, once, and that it is back, once, while events are followed. */
export interface TransportWatch {
  /** Looks; to be called every now and then. */
  look(): void
  stop(): Promise<void>
}

/** Who follows events would else take silence for a quiet system. Of transports other than Redis there is nothing to say. */
export async function watchTransport(
  { eventTransport, redisUrl }: Pick<Config, 'eventTransport' | 'redisUrl'>,
  terminal: Terminal,
  asJson: boolean,
): Promise<TransportWatch> {
  if (redisUrl === undefined || !eventTransport.startsWith('redis-')) return { look: () => {}, stop: async () => {} }
  const bus = await createBus({ transport: 'redis-pubsub', url: redisUrl, log: silentLogger })
  const started = bus.start()
  const told = tellOutages(terminal, asJson)
  let isStarted = false
  started.then(() => {
    isStarted = true
  })
  return {
    look: () => void (isStarted && told(bus)),
    stop: async () => {
      await started
      await bus.stop()
    },
  }
}

/** Tells each change between up and down; it is taken to be up before the first. */
export function tellOutages({ err, styleErr }: Terminal, asJson: boolean): (bus: Pick<Bus, 'healthy'>) => void {
  let up = true
  return ({ healthy }) => {
    if (healthy === up) return
    up = healthy
    const { code, message, hint } = new AppError('BUS_UNREACHABLE', 'Redis does not answer: nothing is published')
    if (asJson) err(JSON.stringify(up ? { recovered: { code } } : { error: { code, message, hint } }))
    else err(up ? 'Redis answers again.' : `${styleErr(['red', 'bold'], code)}  ${message}; events wait in the outbox`)
  }
}
