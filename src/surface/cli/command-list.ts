/** What `concordat --help` says of each command; all else of one is loaded when it is called. */
export const COMMANDS = {
  demo: {
    usage: 'demo',
    description: 'fourteen governed runs on this machine, failures included; needs nothing, leaves nothing',
  },
  replay: {
    usage: 'replay <file...>',
    description: 'run recorded trajectories (.jsonl, .jsonl.gz), one run a line; again: only what is missing',
  },
  worker: {
    usage: 'worker',
    description: 'execute runs until it is told to end (Ctrl-C, SIGTERM), then drain',
  },
  reactor: {
    usage: 'reactor',
    description: 'call the event handlers, and nothing else, until it is told to end (Ctrl-C, SIGTERM)',
  },
  migrate: {
    usage: 'migrate',
    description: 'bring the database’s schema up to date (other commands do so too)',
  },
  doctor: {
    usage: 'doctor',
    description: 'what is effective, what answers, and what is not enforced; changes nothing',
  },
  runs: {
    usage: 'runs',
    description: 'submit runs, look at them, signal, pause and stop them',
  },
  policies: {
    usage: 'policies',
    description: 'limits and conditions that a tenant’s runs are held against',
  },
  approvals: {
    usage: 'approvals',
    description: 'what people are asked before a step runs',
  },
  audit: {
    usage: 'audit',
    description: 'hold runs against their audit contract',
  },
  alerts: {
    usage: 'alerts',
    description: 'what is wrong with runs',
  },
  tenants: {
    usage: 'tenants',
    description: 'the customers on whose behalf runs execute',
  },
  events: {
    usage: 'events',
    description: 'follow events, and give them to handlers again',
  },
  subscriptions: {
    usage: 'subscriptions',
    description: 'events that are sent to URLs',
  },
} as const
