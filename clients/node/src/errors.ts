// The details of a gateway's error. Pure.

import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  QuotaFailureSchema,
  RetryInfoSchema,
} from "./gen/google/rpc/error_details_pb.js";

/** The domain of Forebay's reasons. */
export const DOMAIN = "forebay";

export interface FieldViolation {
  /** The path of the field, such as "operands.left.rows". */
  readonly field: string;
  readonly description: string;
}

/** An error of a call. */
export interface Failure {
  readonly code: Code;
  /** For people; programs decide by `reason`. */
  readonly message: string;
  /** Such as "QUEUE_FULL"; empty for an error that no gateway sent. */
  readonly reason: string;
  /** "forebay", or the domain of a handler's own reasons; empty if there is none. */
  readonly domain: string;
  /** The fields of the request that are wrong. */
  readonly violations: readonly FieldViolation[];
  /** When to call again; undefined if that is no use, or if nothing is known. */
  readonly retryAfterMs: number | undefined;
  /** The quota that is used up; empty if there is none. */
  readonly quota: string;
}

/** The details of an error; anything that is thrown may be passed. */
export function failureOf(error: unknown): Failure {
  const failed = ConnectError.from(error);
  const [info] = failed.findDetails(ErrorInfoSchema);
  const [badRequest] = failed.findDetails(BadRequestSchema);
  const [quota] = failed.findDetails(QuotaFailureSchema);
  const [retry] = failed.findDetails(RetryInfoSchema);
  const delay = retry?.retryDelay;
  return {
    code: failed.code,
    message: failed.rawMessage,
    reason: info?.reason ?? "",
    domain: info?.domain ?? "",
    violations: (badRequest?.fieldViolations ?? []).map(({ field, description }) => ({
      field,
      description,
    })),
    retryAfterMs: delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6,
    quota: quota?.violations[0]?.subject ?? "",
  };
}

/** Whether a gateway sent the error, and says that calling again may help. */
export function retryMayHelp(failure: Failure): boolean {
  return failure.domain === DOMAIN && failure.retryAfterMs !== undefined;
}
