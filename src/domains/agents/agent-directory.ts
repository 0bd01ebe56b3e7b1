import { AppError } from '../../foundation/app-error.ts'
import type { Json } from '../../foundation/json.ts'
import type { Agent } from './agent.ts'
import { knownNames } from './names.ts'
import { unknownSkill, validatePlan } from './plan.ts'
import type { Skill, ToolCall } from './skill.ts'

/** The agents and skills that this process can run. */
export class AgentDirectory {
  readonly skills: ReadonlyMap<string, Skill>
  readonly #agents: readonly Agent[]

  /**
   * Fails with `INVALID_CONFIGURATION` if two agents have the same name and version, or two skills the same name, and
   * as `validatePlan` does for the agents' plans.
   */
  constructor({ agents, skills }: { readonly agents: readonly Agent[]; readonly skills: readonly Skill[] }) {
    const skillNames = skills.map(({ name }) => name)
    const agentNames = agents.map(({ name, version }) => `${name} version ${version}`)
    refuseDuplicates('skills', skillNames)
    refuseDuplicates('agents', agentNames)
    this.skills = new Map(skills.map((skill) => [skill.name, skill]))
    this.#agents = Object.freeze([...agents])
    for (const agent of agents) if (agent.kind === 'plan') validatePlan(agent.plan, this.skills)
  }

  /**
   * Returns the agent of that name and version; without a version, the one that is listed last. Fails with
   * `UNKNOWN_AGENT`, which names what comes close.
   */
  find(name: string, version?: string): Agent {
    const found = this.#agents.findLast((agent) => {
      return agent.name === name && (version === undefined || agent.version === version)
    })
    if (found) return found
    const versions = this.#agents.filter((agent) => agent.name === name)
    if (versions.length > 0) {
      const known = versions.map((agent) => agent.version)
      throw unknownAgent(
        `agent ${JSON.stringify(name)} has no version ${JSON.stringify(version)}`,
        version ?? '',
        known,
      )
    }
    const known = this.#agents.map((agent) => agent.name)
    throw unknownAgent(`there is no agent ${JSON.stringify(name)}`, name, known)
  }

  all(): readonly Agent[] {
    return this.#agents
  }

  /**
   * Returns the call that `step.tool(name, input)` makes for this agent: of its own tool or else of the skill of that
   * name; in a plan, of the skill of the step of that name. Its options hold where the caller gives none. Fails with
   * `UNKNOWN_SKILL`, or `INVALID_PLAN` for an input that does not fit the skill.
   */
  toolCall(agent: Agent, name: string, input: Json): ToolCall {
    const own = agent.kind === 'code' ? agent.tools.get(name) : undefined
    if (own) return { kind: 'tool', options: {}, run: (context) => own(input, context) }
    const planned = agent.kind === 'plan' ? agent.plan.steps.find((step) => step.name === name) : undefined
    const skill = this.skills.get(planned?.skill ?? name)
    if (!skill) throw unknownSkill(name, [...(agent.kind === 'code' ? agent.tools.keys() : []), ...this.skills.keys()])
    const made = skill.prepare(input)
    if (made.kind === 'tool') return made
    throw new AppError('UNKNOWN_SKILL', `Skill ${skill.name} is not a tool but makes a step of kind ${made.kind}`, {
      hint: 'In code, use step.llm, step.sleep or step.record.',
    })
  }
}

function unknownAgent(what: string, wanted: string, known: readonly string[]): AppError {
  return new AppError('UNKNOWN_AGENT', `${what}; ${knownNames(wanted, known)}`)
}

function refuseDuplicates(what: string, names: readonly string[]): void {
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice === undefined) return
  throw new AppError('INVALID_CONFIGURATION', `Two ${what} have the same name: ${twice}`, {
    hint: 'Rename one, or give the changed one a new version.',
  })
}
