import { defineNoun } from './command.ts'
import { policiesApply } from './policies-apply.ts'
import { policiesGet } from './policies-get.ts'
import { policiesLint } from './policies-lint.ts'
import { policiesList } from './policies-list.ts'
import { policiesSimulate } from './policies-simulate.ts'
import { policiesUsage } from './policies-usage.ts'

export const policiesCommands = defineNoun('policies', 'limits and conditions that a tenant’s runs are held against', [
  policiesApply,
  policiesList,
  policiesGet,
  policiesLint,
  policiesUsage,
  policiesSimulate,
])
