import { auditGet } from './audit-get.ts'
import { auditReconcile } from './audit-reconcile.ts'
import { auditSweep } from './audit-sweep.ts'
import { defineNoun } from './command.ts'
import { COMMANDS } from './command-list.ts'

export const auditCommands = defineNoun(COMMANDS.audit, [auditGet, auditReconcile, auditSweep])
