import { defineCommand } from './command.ts'
export const doctorCommand = defineCommand({ usage: 'doctor', description: 'x', run: async () => 0 })
