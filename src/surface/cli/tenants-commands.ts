import { Option } from 'commander'
import { actingOptions } from './acting.ts'
import { defineCommand, defineNoun, integer } from './command.ts'
import { COMMANDS } from './command-list.ts'
import { toJson } from './json.ts'
import { noteOf, type StopOptions, stopOptions } from './runs-stop.ts'
import { withSession } from './session.ts'
import { stoppedText } from './stopped-text.ts'
import { tenantsList } from './tenants-list.ts'
import { printable } from './terminal.ts'

interface CreateOptions {
  readonly maxRunning?: number
  readonly agents?: string[]
}

const INT_MAX = 2_147_483_647

const tenantsCreate = defineCommand<CreateOptions>({
  usage: 'create <name>',
  description: 'a new tenant',
  options: [
    new Option('--max-running <n>', 'runs that execute at the same time; no limit if left out').argParser(
      integer(1, INT_MAX),
    ),
    new Option('--agents <names...>', 'the only agents that it may run; every agent if left out'),
  ],
  run: async (context) => {
    const { terminal, options, args } = context
    const { json, maxRunning = null, agents: allowedAgents = null } = options
    const tenant = { tenantId: args[0] ?? '', maxRunning, allowedAgents }
    await withSession(context, (concordat) => concordat.tenants.create(tenant))
    terminal.out(json ? toJson({ ...tenant, status: 'active' }) : `Tenant ${tenant.tenantId} is there.`)
    return 0
  },
})

const tenantsSuspend = defineCommand<StopOptions>({
  usage: 'suspend <name>',
  description: 'stop what a tenant has in flight, keep what is queued, deny new runs',
  options: stopOptions,
  run: async (context) => {
    const { terminal, options, args } = context
    const tenantId = args[0] ?? ''
    const result = await withSession(context, (concordat) => {
      return concordat.tenants.suspend(tenantId, { ...noteOf(options), waitMs: options.wait * 1_000 })
    })
    const shown = printable(tenantId)
    const text = result.changed ? `is suspended. ${stoppedText(result)}` : 'was suspended before. Nothing was done.'
    terminal.out(options.json ? toJson({ tenantId, status: 'suspended', ...result }) : `Tenant ${shown} ${text}`)
    return 0
  },
})

const tenantsResume = defineCommand<Pick<StopOptions, 'by' | 'as' | 'why'>>({
  usage: 'resume <name>',
  description: 'let a suspended tenant in again: its queued runs go on',
  options: [new Option('--why <reason>', 'told in the event'), ...actingOptions()],
  run: async (context) => {
    const { terminal, options, args } = context
    const tenantId = args[0] ?? ''
    const { changed } = await withSession(context, (concordat) => concordat.tenants.resume(tenantId, noteOf(options)))
    const text = changed ? 'is active again.' : 'was active already. Nothing was done.'
    terminal.out(
      options.json ? toJson({ tenantId, status: 'active', changed }) : `Tenant ${printable(tenantId)} ${text}`,
    )
    return 0
  },
})

export const tenantsCommands = defineNoun(COMMANDS.tenants, [tenantsCreate, tenantsList, tenantsSuspend, tenantsResume])
