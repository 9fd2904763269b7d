import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "./gen/rich_status_pb.js";

/** The code, the reason and the invalid fields of an error. */
export function describe(error: unknown): string {
  const failure = ConnectError.from(error);
  const reasons = failure.findDetails(ErrorInfoSchema).map((info) => info.reason);
  const fields = failure
    .findDetails(BadRequestSchema)
    .flatMap((request) => request.fieldViolations)
    .map((violation) => `${violation.field}: ${violation.description}`);
  return [Code[failure.code], ...reasons, ...fields].join(", ");
}

/**
 * The time after which to call again, in ms; undefined if that is no use. Forebay's errors have an
 * ErrorInfo, and a RetryInfo if a retry may help; an error without an ErrorInfo is the connection's.
 */
export function retryDelayMs(error: unknown): number | undefined {
  const failure = ConnectError.from(error);
  const [delay] = failure.findDetails(RetryInfoSchema).map((info) => info.retryDelay);
  if (delay !== undefined) {
    return Number(delay.seconds) * 1000 + delay.nanos / 1e6;
  }
  const isTheConnections =
    failure.findDetails(ErrorInfoSchema).length === 0 &&
    [Code.Unavailable, Code.Internal, Code.Unknown, Code.Canceled].includes(failure.code);
  return isTheConnections ? Math.random() * 500 : undefined;
}
