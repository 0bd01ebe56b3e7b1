import type { z } from 'zod'

export const ISSUES_MAX = 10 // a wrong shape can make an issue an element; nobody reads more

/** What a value was refused for, on one line: each wrong field with its path. */
export function issuesText({ issues }: Pick<z.ZodError, 'issues'>): string {
  const shown = issues.slice(0, ISSUES_MAX).map(({ path, message }) => {
    return path.length > 0 ? `${pathText(path)}: ${message}` : message
  })
  const more = issues.length - shown.length
  return shown.join('; ') + (more > 0 ? `; and ${more} more` : '')
}

/** As code writes it: `steps[1].name`. */
export function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`
    return text ? `${text}.${String(key)}` : String(key)
  }, '')
}
