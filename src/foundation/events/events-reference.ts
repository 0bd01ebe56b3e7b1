import { eventTypes } from './event-types.ts'

const INTRODUCTION = `# Events

Every event is a [CloudEvents 1.0](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md) message in JSON.
It is delivered at least once, and the events of one run, or of a tenant itself, in order.

| attribute | meaning |
|---|---|
| \`specversion\` | \`1.0\` |
| \`id\` | id of the event; the same in every delivery of it |
| \`source\` | \`/concordat\` |
| \`type\` | one of the types below; later versions may add some |
| \`time\` | when it happened, RFC 3339 |
| \`subject\` | id of the run; the nil UUID where it is about no run |
| \`data\` | the fields of the type |
| \`tenantid\` | the tenant that it is about, or that its run belongs to |
| \`partition\` | 0 to 15; all events of one subject are in one partition |
| \`position\` | place of the event within its partition, from 1, without gaps; the same in every delivery of it; a text, since integers of CloudEvents end at 2³¹ |
`

/** docs/reference/events.md, made from the table of event types. */
export function eventsReference(): string {
  const sections = Object.entries(eventTypes).map(([type, { when, data }]) => {
    const fields = Object.entries(data).map(([name, meaning]) => `| \`${name}\` | ${meaning} |`)
    return [`## ${type}`, '', when, '', '| field | meaning |', '|---|---|', ...fields, ''].join('\n')
  })
  return [INTRODUCTION, ...sections].join('\n')
}
