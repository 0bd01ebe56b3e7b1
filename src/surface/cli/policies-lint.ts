import { readConfig } from '../../config.ts'
import { defineCommand } from './command.ts'
import { plural } from './format.ts'
import { toJson } from './json.ts'
import { findingLines, lintFile } from './policy-source.ts'
import { sayWhatIsNotHeld } from './policy-text.ts'

export const policiesLint = defineCommand({
  usage: 'lint <file>',
  description: 'checks a policy file (YAML or JSON, - for standard input) and shows what is wrong, and where',
  run: async ({ terminal, options, args }) => {
    const source = await lintFile(args[0] ?? '')
    const { path, policies, findings } = source
    if (options.json) terminal.out(toJson({ file: path, policies: policies.length, findings }))
    else {
      for (const line of findingLines(source, terminal.style)) terminal.out(line)
      const summary = findings.length === 0 ? plural(policies.length, 'policy', 'policies') : `${path}:`
      terminal.out(`${summary}${findings.length === 0 ? ', no problems' : ` ${plural(findings.length, 'problem')}`}`)
      sayWhatIsNotHeld(terminal, policies, readConfig().config.midExecutionPolicyCheckEnabled)
    }
    return findings.length === 0 ? 0 : 1
  },
})
