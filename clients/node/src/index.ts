// A client of Forebay gateways: any service by its generated code, with calls that are retried on
// other gateways and resumed.

export { createClient } from "./client.js";
export type { Tls, Token } from "./connection.js";
export { DOMAIN, failureOf, retryMayHelp, type Failure, type FieldViolation } from "./errors.js";
export { items } from "./items.js";
export { repeatable } from "./replay.js";
export type { Routes } from "./routes.js";
export {
  createTransport,
  type ForebayTransport,
  type RetryEvent,
  type TransportOptions,
} from "./transport.js";
