import type { Silence } from '../../domains/alerts/alerts.ts'
import { printable } from './terminal.ts'

/** What nobody is told of, until when, and who has said so. */
export function silenceText({ type, runId, tenantId, until, by }: Silence): string {
  const what = [type ?? 'every type', runId && `run ${runId}`, tenantId && `tenant ${tenantId}`]
    .filter(Boolean)
    .join(', ')
  return `silent until ${until.toISOString()}: ${what}, by ${printable(by, 100)}`
}
