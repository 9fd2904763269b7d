// Which failures are the transport's: Node's, a broken connection's or a proxy's. Pure.
//
// Every error of a gateway has an ErrorInfo, also a handler's status: the gateway adds one to
// details that have none. So a failure without an ErrorInfo comes from the way between client and
// gateway. docs/retries.md has the table of what proxies send.

import { Code, ConnectError } from "@connectrpc/connect";
import { type Failure, failureOf } from "./errors.js";

/** Which calls a transport error permits to retry: any, or those with an id, which attach. */
export type Retry = "any" | "attaching";

const RETRIES: ReadonlyMap<Code, Retry> = new Map([
  // A connection is refused or times out; HTTP 429, 502, 503 and 504; RST_STREAM(REFUSED_STREAM).
  [Code.Unavailable, "any"],
  // Other RST_STREAM; a stream that ends without a status; errors of sockets.
  [Code.Internal, "any"],
  [Code.Unknown, "any"],
  // A proxy's limit on the duration of a call. A call that starts over would meet it again.
  [Code.DeadlineExceeded, "attaching"],
]);

/** Connect's message if a proxy rejects the request, as with 413; a retry would fail, too. */
const REJECTED = /^HTTP 4(?!08|29)\d\d$/;

/** Connect's messages for messages that can't be written or read. */
const FAILED_HERE = /^(serialize|parse) (binary|JSON): /;

/**
 * The error with gRPC's code. Connect has ABORTED or CANCELLED for a connection that has gone, which
 * is UNAVAILABLE to gRPC. A gateway's own have an ErrorInfo; a caller's cancel never gets here.
 */
export function withGrpcCode(error: unknown): ConnectError {
  const failed = ConnectError.from(error);
  const isLoss = failed.code === Code.Aborted || failed.code === Code.Canceled;
  if (!isLoss || failureOf(failed).reason) {
    return failed;
  }
  return new ConnectError(failed.rawMessage, Code.Unavailable, failed.metadata, [], failed.cause);
}

/** Which calls the failure permits to retry; undefined if none, or if a gateway sent it. */
export function transportRetry(failure: Failure): Retry | undefined {
  if (failure.reason || failure.domain) {
    return undefined;
  }
  if (failure.retryAfterMs !== undefined) {
    return "any"; // a proxy's
  }
  if (REJECTED.test(failure.message) || FAILED_HERE.test(failure.message)) {
    return undefined;
  }
  return RETRIES.get(failure.code);
}
