import { defineNoun } from './command.ts'
import { COMMANDS } from './command-list.ts'
import { policiesApply } from './policies-apply.ts'
import { policiesGet } from './policies-get.ts'
import { policiesLint } from './policies-lint.ts'
import { policiesList } from './policies-list.ts'
import { policiesSimulate } from './policies-simulate.ts'
import { policiesUsage } from './policies-usage.ts'

export const policiesCommands = defineNoun(COMMANDS.policies, [
  policiesApply,
  policiesList,
  policiesGet,
  policiesLint,
  policiesUsage,
  policiesSimulate,
])
