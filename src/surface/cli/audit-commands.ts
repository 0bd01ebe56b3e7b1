import { auditGet } from './audit-get.ts'
import { auditReconcile } from './audit-reconcile.ts'
import { auditSweep } from './audit-sweep.ts'
import { defineNoun } from './command.ts'

export const auditCommands = defineNoun('audit', 'hold runs against their audit contract', [
  auditGet,
  auditReconcile,
  auditSweep,
])
