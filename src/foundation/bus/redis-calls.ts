import type { OutgoingEvent } from '../events/events.ts'

/** Redis runs a script without interruption: a few MB at a time keep it responsive. */
const CALL_CHARS_MAX = 2_097_152

export interface Message {
  readonly partition: number
  /** CloudEvents JSON. */
  readonly text: string
}

/** The messages of events, parted into calls. */
export function* callsOf(events: readonly OutgoingEvent[]): Generator<Message[]> {
  let call: Message[] = []
  let chars = 0
  for (const { partition, text } of events) {
    if (call.length > 0 && chars + text.length > CALL_CHARS_MAX) {
      yield call
      call = []
      chars = 0
    }
    call.push({ partition, text })
    chars += text.length
  }
  if (call.length > 0) yield call
}
