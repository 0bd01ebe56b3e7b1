import { defineNoun } from './command.ts'
import { COMMANDS } from './command-list.ts'
import { runsFinalize } from './runs-finalize.ts'
import { runsGet } from './runs-get.ts'
import { runsList } from './runs-list.ts'
import { runsPause } from './runs-pause.ts'
import { runsResume } from './runs-resume.ts'
import { runsSignal } from './runs-signal.ts'
import { runsSteps } from './runs-steps.ts'
import { runsStop } from './runs-stop.ts'
import { runsSubmit } from './runs-submit.ts'
import { runsTail } from './runs-tail.ts'

export const runsCommands = defineNoun(COMMANDS.runs, [
  runsSubmit,
  runsList,
  runsGet,
  runsSteps,
  runsSignal,
  runsStop,
  runsPause,
  runsResume,
  runsFinalize,
  runsTail,
])
