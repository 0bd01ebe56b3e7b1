export {
  type GuardOptions,
  guardedSender,
  type HttpRequest,
  refusePrivateAddress,
  type SendRequest,
} from './guarded-request.ts'
