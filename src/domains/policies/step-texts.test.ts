import { describe, expect, it } from 'vitest'
import { Expressions } from './expressions.ts'
import { isAbout } from './step-texts.ts'

const expressions = new Expressions()
const step = { kind: 'tool', name: 'search#1', tool: 'search' }

describe('a condition is about a step', () => {
  it.each([
    ['step.tool == "search"', true],
    ['"search" == step.tool && run.steps > 5', true],
    ['step.tool == "shell" && run.cost_usd > 0.5 || run.steps > 9', false],
    ['step.tool in ["shell", "search"]', true],
    ['step.tool in ["shell"] || step.name in ["a", "b"]', false],
    ['step.kind == "tool" && step.tool == "shell"', true], // by its kind: then it is evaluated
    ['step.tool != "shell"', true],
    ['!(step.tool == "shell")', true],
    ['step.tool == "shell" ? false : true', true],
    ['step.tool.startsWith("sh")', true],
    ['step.tool == run.agent', true],
    ['["shell"].exists(name, step.tool == name)', true],
    ['(step.tool == "shell") == false', true],
  ])('%s: %s', (when, about) => {
    const compiled = expressions.compile(when)
    expect(compiled.ok && isAbout(compiled.expression.stepTexts, step)).toBe(about)
  })
})
