import { defineCommand } from './command.ts'
export const demoCommand = defineCommand({ usage: 'demo', description: 'x', run: async () => 0 })
