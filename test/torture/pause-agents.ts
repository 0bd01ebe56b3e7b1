import { type Agent, defineAgent } from '../../src/index.ts'

/** Its second step is looked at by a policy. */
export function pauseAgents(): Agent[] {
  return [
    defineAgent({
      name: 'pauses',
      version: '1',
      async run({ step }) {
        await step.do('before', () => null, { sideEffects: false })
        return step.do('after', () => 'done')
      },
    }),
  ]
}
