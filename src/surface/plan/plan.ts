export { planAgent } from './plan-agent.ts'
