import { setTimeout as pause } from 'node:timers/promises'
import { type Agent, defineAgent } from '../../src/index.ts'

/** So many steps, each of some time, which may be run again. */
export function policyAgents(): Agent[] {
  return [
    defineAgent<{ steps: number; lastsMs: number }>({
      name: 'ticks',
      version: '1',
      async run({ input: { steps, lastsMs }, step }) {
        for (let i = 0; i < steps; i++) await step.do('tick', () => pause(lastsMs, null), { sideEffects: false })
        return steps
      },
    }),
  ]
}
