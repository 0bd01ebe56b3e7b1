import type { EventEnvelope } from '../events/events.ts'

/** Redis runs a script without interruption: a few MB at a time keep it responsive. */
const CALL_CHARS_MAX = 2_097_152

export interface Message {
  readonly partition: number
  /** CloudEvents JSON. */
  readonly text: string
}

/** The messages of events, parted into calls. */
export function* callsOf(events: readonly EventEnvelope[]): Generator<Message[]> {
  let call: Message[] = []
  let chars = 0
  for (const event of events) {
    const text = JSON.stringify(event)
    if (call.length > 0 && chars + text.length > CALL_CHARS_MAX) {
      yield call
      call = []
      chars = 0
    }
    call.push({ partition: event.partition, text })
    chars += text.length
  }
  if (call.length > 0) yield call
}
