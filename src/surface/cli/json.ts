/** JSON for tools: dates in ISO 8601, bigints as numbers where they are exact and as text where not. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, member) => (typeof member === 'bigint' ? exact(member) : member), 2)
}

function exact(value: bigint): number | string {
  return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
}
