export { deliveryHandlers } from './delivery-handlers.ts'
export { createDeliverySender } from './delivery-sender.ts'
export { parseSinks, type Sink } from './sinks.ts'
