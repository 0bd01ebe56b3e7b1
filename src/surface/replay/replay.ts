export { type LineFile, openLines, type RawLine } from './read-lines.ts'
export { replayAgent } from './replay-agent.ts'
export { type MalformedLine, readTrajectory, type Trajectory } from './trajectory.ts'
