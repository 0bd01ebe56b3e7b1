import { Option } from 'commander'
import type { Config } from '../../config.ts'
import { AppError } from '../../foundation/app-error.ts'
import { migrate, type SchemaState, schemaState } from '../../foundation/storage/storage.ts'
import { defineCommand } from './command.ts'
import { COMMANDS } from './command-list.ts'
import { databaseExists, withDatabase } from './database.ts'
import type { ExitCode } from './errors.ts'
import { plural } from './format.ts'
import { toJson } from './json.ts'
import { type CommandContext, commandConfig } from './session.ts'

export const migrateCommand = defineCommand<{ check?: true }>({
  ...COMMANDS.migrate,
  options: [new Option('--check', 'change nothing; exit code 1 when migrations are pending')],
  run: async (context) => {
    const { terminal, options } = context
    const config = commandConfig()
    if (options.check) return check(context, config)
    return withDatabase(terminal, config, async (database): Promise<ExitCode> => {
      const applied = await migrate(database)
      if (options.json) terminal.out(toJson({ applied, pending: [] }))
      else terminal.out(applied.length === 0 ? 'The schema is up to date.' : `Applied ${applied.join(', ')}.`)
      return 0
    })
  },
})

async function check({ terminal, options }: CommandContext, config: Config): Promise<ExitCode> {
  if (!databaseExists(config)) {
    if (options.json) terminal.out(toJson({ applied: [], pending: null, database: null }))
    else terminal.out(`There is no database yet in ${config.dataDir}: every migration is pending.`)
    return 1
  }
  return withDatabase(terminal, config, async (database): Promise<ExitCode> => {
    const state = await schemaState(database)
    refuseNewer(state)
    const { applied, pending } = state
    if (options.json) terminal.out(toJson({ applied, pending }))
    else if (pending.length === 0) terminal.out(`The schema is up to date: ${plural(applied.length, 'migration')}.`)
    else terminal.out(`Pending: ${pending.join(', ')}. \`concordat migrate\` applies them.`)
    return pending.length === 0 ? 0 : 1
  })
}

function refuseNewer({ unknown }: SchemaState): void {
  if (unknown.length === 0) return
  throw new AppError(
    'SCHEMA_NEWER',
    `the database has migrations that this version does not know: ${unknown.join(', ')}`,
  )
}
