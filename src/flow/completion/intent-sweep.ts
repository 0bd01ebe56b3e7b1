import { ackOf, writeAcks } from '../../domains/audit/audit.ts'
import type { Json } from '../../foundation/json.ts'
import { limits } from '../../limits.ts'
import type { CompletionOptions } from './completion-context.ts'
import { compensate } from './participant-completion.ts'
import { takeDueIntents } from './participants.ts'

/**
 * Undoes what participants of completions that died had done elsewhere: each compensation runs at least once, and
 * leaves a `ROLLED_BACK` ack. Returns how many were undone. One whose participant is no longer configured is kept and
 * logged at every sweep: only a person can undo it.
 */
export async function sweepIntents(options: CompletionOptions): Promise<number> {
  const { database, participants, log, clock } = options
  const due = await takeDueIntents(database, limits.sweepBatchMax, limits.participantIntentMs)
  let undone = 0
  for (const { intent, detail } of due) {
    const { tenantId, runId, participant: name, attempt } = intent
    const participant = participants.find((each) => each.name === name)
    if (!participant) {
      log.error(
        { tenantId, runId, participant: name },
        'an operation needs its compensation, but its participant is not configured',
      )
      continue
    }
    try {
      await compensate(database, participant, intent, JSON.parse(detail ?? 'null') as Json)
      const action = { domain: `participant:${name}`, action: 'act' }
      const error = 'its completion died before the commit'
      const ack = ackOf(action, 'ROLLED_BACK', { resultId: intent.idempotencyKey, error, attempt })
      await writeAcks(database, [{ tenantId, runId, at: clock.now(), acks: [ack] }])
      undone++
    } catch (error) {
      log.error({ error, tenantId, runId, participant: name }, 'a compensation failed and will be tried again')
    }
  }
  return undone
}
