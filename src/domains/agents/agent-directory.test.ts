import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineAgent } from './agent.ts'
import { AgentDirectory } from './agent-directory.ts'
import { defineSkill, type SkillContext } from './skill.ts'

const context: SkillContext = {
  signal: new AbortController().signal,
  attempt: 1,
  idempotencyKey: 'k',
  secrets: { get: (name) => `secret ${name}` },
}

const shout = defineSkill({
  name: 'shout',
  params: z.object({ text: z.string() }),
  sideEffects: false,
  run: ({ text }, { secrets }) => `${text.toUpperCase()} ${secrets.get('S')}`,
})
const pause = defineSkill({
  name: 'pause',
  params: z.object({ ms: z.number() }),
  prepare: ({ ms }) => ({ kind: 'wait', ms }),
})
const code = (name: string, version: string) =>
  defineAgent({ name, version, run: () => null, tools: { shout: () => 'own tool', whisper: (input) => input } })
const planned = defineAgent({
  name: 'planned',
  version: '1',
  plan: { steps: [{ skill: 'shout', name: 'greet', params: { text: 'hi' } }] },
})
const directory = new AgentDirectory({
  agents: [code('triage', '1'), code('triage', '10'), code('triage', '2'), planned],
  skills: [shout, pause],
})

describe('an agent is found', () => {
  test('by name and version, or as the one listed last', () => {
    expect(directory.find('triage', '10').version).toBe('10')
    expect(directory.find('triage').version).toBe('2')
  })

  test('or refused, naming what comes close', () => {
    expect(() => directory.find('triag')).toThrow(
      expect.objectContaining({
        code: 'UNKNOWN_AGENT',
        message: 'there is no agent "triag"; known: "triage", "planned"',
      }),
    )
    expect(() => directory.find('triage', '11')).toThrow(
      expect.objectContaining({
        code: 'UNKNOWN_AGENT',
        message: 'agent "triage" has no version "11"; known: "1", "10", "2"',
      }),
    )
  })
})

describe('a tool call', () => {
  const triage = directory.find('triage')

  test("runs the agent's own tool before a skill of the same name", () => {
    expect(directory.toolCall(triage, 'shout', {}).run(context)).toBe('own tool')
    expect(directory.toolCall(triage, 'whisper', { x: 1 }).run(context)).toEqual({ x: 1 })
  })

  test('runs the skill of that name, with its options and the secrets', () => {
    const call = directory.toolCall(defineAgent({ name: 'b', version: '1', run: () => null }), 'shout', { text: 'hi' })
    expect(call.options).toEqual({ sideEffects: false })
    expect(call.run(context)).toBe('HI secret S')
  })

  test('in a plan runs the skill of the step of that name', () => {
    expect(directory.toolCall(planned, 'greet', { text: 'hi' }).run(context)).toBe('HI secret S')
  })

  test('is refused where there is no such tool, or the skill makes another kind of step', () => {
    expect(() => directory.toolCall(triage, 'shoot', {})).toThrow(
      expect.objectContaining({ code: 'UNKNOWN_SKILL', message: expect.stringContaining('known: "shout"') }),
    )
    expect(() => directory.toolCall(triage, 'pause', { ms: 1 })).toThrow(
      expect.objectContaining({ code: 'UNKNOWN_SKILL', message: expect.stringContaining('kind wait') }),
    )
    expect(() => directory.toolCall(planned, 'greet', { text: 5 })).toThrow(
      expect.objectContaining({ code: 'INVALID_PLAN' }),
    )
  })
})

describe('a directory is refused', () => {
  test('with two agents of one name and version, or two skills of one name', () => {
    expect(() => new AgentDirectory({ agents: [code('a', '1'), code('a', '1')], skills: [] })).toThrow(
      expect.objectContaining({ code: 'INVALID_CONFIGURATION' }),
    )
    expect(() => new AgentDirectory({ agents: [], skills: [shout, shout] })).toThrow(
      expect.objectContaining({ code: 'INVALID_CONFIGURATION' }),
    )
  })

  test('with a plan whose skills are not there', () => {
    expect(() => new AgentDirectory({ agents: [planned], skills: [] })).toThrow(
      expect.objectContaining({ code: 'UNKNOWN_SKILL' }),
    )
  })
})
