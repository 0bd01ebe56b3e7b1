import { listAgents } from '../../domains/agents/agents.ts'
import type { Tx } from '../../foundation/storage/storage.ts'

/** A worker whose lease holds, as people want to know it. */
export interface LiveWorker {
  readonly workerId: string
  readonly process: string
  readonly concurrency: number
  readonly startedAt: Date
  readonly running: number
}

export async function liveWorkers(tx: Tx): Promise<LiveWorker[]> {
  return tx.query<LiveWorker>(
    `select w.worker_id as "workerId", w.process, w.concurrency, w.started_at as "startedAt",
            (select count(*)::int from concordat.runs r where r.worker_id = w.worker_id) as running
       from concordat.workers w where w.expires_at > clock_timestamp() order by w.started_at limit 1000`,
  )
}

/** Why a run that waits for a worker will get none as things are; null where one may come at any moment. */
export async function whyUnclaimed(tx: Tx, run: { agent: string; agentVersion: string }): Promise<string | null> {
  const workers = await liveWorkers(tx)
  if (workers.length === 0) return 'no worker is alive; start one with `concordat worker`'
  const known = (await listAgents(tx)).some(({ name, version }) => name === run.agent && version === run.agentVersion)
  return known ? null : `no worker has agent ${run.agent}@${run.agentVersion}`
}
