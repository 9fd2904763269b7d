// Decides whether, when, where and with what metadata a call is retried. Pure; the rules are those
// of the Python client, and docs/retries.md explains them.
//
// Example: a durable stream breaks after 3 items. Its next attempt has the same `forebay-call-id`
// and `forebay-resume-from: 3`, so it attaches to the running call and gets the fourth item first.

import type { Message } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { type Failure, retryMayHelp } from "./errors.js";
import type { Rotation } from "./rotation.js";
import type { RoutedMethod } from "./routes.js";
import { transportRetry } from "./transport-errors.js";

export const CALL_ID = "forebay-call-id";
export const ATTACHED = "forebay-attached";
const RESUME_FROM = "forebay-resume-from";
const CACHE_CONTROL = "forebay-cache-control";
const ON_DISCONNECT = "forebay-on-disconnect";

// Without a RetryInfo, the delay is random between 0 and the initial backoff. The upper bound
// doubles each time that all targets have failed once more, up to the maximum.
const INITIAL_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 5_000;
const RETRY_INFO_JITTER = 0.2;

/** A call without a deadline fails after this time without a response. */
const RETRY_FOR_MS = 60_000;
/** The same, while no gateway has accepted the call: the address may be wrong. */
const RETRY_UNACCEPTED_FOR_MS = 10_000;
/** After an accepted attempt that lasted this long, RETRY_FOR_MS restarts. */
const STABLE_MS = 10_000;

/** gRPC's header for deadlines has eight digits. */
const MAX_TIMEOUT_MS = 99_999_999;

/** The target and the metadata of one attempt. */
export interface Attempt {
  readonly target: number;
  readonly timeoutMs: number | undefined;
  readonly header: Headers;
  /** If false, a request stream is left empty: the gateways have all requests. */
  readonly sendsRequests: boolean;
}

/** The things outside of a policy that it depends on. */
export interface Surroundings {
  readonly rotation: Rotation;
  /** Milliseconds that only grow. */
  readonly clock: () => number;
  /** From 0 to 1. */
  readonly random: () => number;
  readonly newId: () => string;
  /** Whether each attempt gets a token of its own. */
  readonly renewsToken: boolean;
}

/**
 * The history of one call, and what follows from its next failure. A call whose method has no route
 * is attempted once, without an id.
 */
export class ResumePolicy {
  readonly #method: RoutedMethod | undefined;
  readonly #given: Headers;
  readonly #deadline: number;
  readonly #around: Surroundings;
  #callId: string | undefined;
  #idIsOurs: boolean;
  /** The id of the run that the call shares; undefined if that is its own, or not known. */
  #runId: string | undefined;
  #items = 0;
  #isAccepted = false;
  #target: number | undefined;
  #isBetweenAttempts = false;
  #attemptBeganAt: number;
  #failingSince: number;
  #failures = 0;

  constructor(
    method: RoutedMethod | undefined,
    header: HeadersInit | undefined,
    timeoutMs: number | undefined,
    around: Surroundings,
  ) {
    this.#method = method;
    this.#given = new Headers(header);
    this.#around = around;
    this.#attemptBeganAt = this.#failingSince = around.clock();
    this.#deadline = timeoutMs === undefined ? Infinity : around.clock() + timeoutMs;
    this.#callId = this.#given.get(CALL_ID) ?? undefined;
    this.#idIsOurs =
      this.#callId === undefined &&
      method !== undefined &&
      !method.isPlain &&
      !method.isEphemeral;
    if (this.#idIsOurs) {
      this.#callId = around.newId();
    }
  }

  /** Undefined if the call has no id. */
  get callId(): string | undefined {
    return this.#callId;
  }

  /** The target of the latest attempt. */
  get target(): number | undefined {
    return this.#target;
  }

  /**
   * The target of a request that cancels the call; undefined if there was no attempt. Between two
   * attempts, it is the next of the rotation: the latest attempt's may be lost.
   */
  cancelTarget(): number | undefined {
    if (this.#target === undefined || !this.#isBetweenAttempts) {
      return this.#target;
    }
    return this.#around.rotation.next(this.#target);
  }

  /** Whether the gateway cancels the call when its caller has disconnected for good. */
  get endsOnDisconnect(): boolean {
    if (this.#method === undefined || this.#callId === undefined || this.#runId !== undefined) {
      return false;
    }
    const chosen = this.#given.get(ON_DISCONNECT);
    return chosen !== "detach" && (chosen === "cancel" || !this.#method.detaches);
  }

  /** Whether an attempt must send the requests; if not, the gateways have them all. */
  get sendsRequests(): boolean {
    const streams = this.#method?.streamsRequests === true && !this.#method.isLive;
    return !(streams && this.#isAccepted);
  }

  /** The next attempt, which starts now. */
  attempt(): Attempt {
    const now = this.#around.clock();
    this.#isBetweenAttempts = false;
    this.#target = this.#around.rotation.next(this.#failures > 0 ? this.#target : undefined);
    this.#attemptBeganAt = now;
    const resumes = this.#items > 0 || !this.sendsRequests;
    const header = new Headers(this.#given);
    setOrDelete(header, CALL_ID, resumes && this.#runId ? this.#runId : this.#callId);
    setOrDelete(header, CACHE_CONTROL, this.#cacheDirectives(resumes));
    if (this.#items > 0) {
      const before = Number(this.#given.get(RESUME_FROM) ?? 0);
      header.set(RESUME_FROM, String(before + this.#items));
    }
    const leftMs = Math.max(1, Math.ceil(this.#deadline - now));
    return {
      target: this.#target,
      timeoutMs: leftMs === Infinity ? undefined : Math.min(leftMs, MAX_TIMEOUT_MS),
      header,
      sendsRequests: this.sendsRequests,
    };
  }

  /** Counts a response, unless it is transient. */
  onResponse(response: Message): void {
    if (this.#method?.isTransient(response) === false) {
      this.#items++;
    }
    this.#accept();
    this.#failures = 0;
  }

  /**
   * Milliseconds to wait before the next attempt; undefined if the call has failed. `initial` is
   * the metadata that the gateway had sent, if any.
   */
  onFailure(failure: Failure, initial: Headers): number | undefined {
    const isAccepted = initial.has(ATTACHED);
    this.#isBetweenAttempts = true;
    this.#noteRun(initial.get(CALL_ID));
    const now = this.#around.clock();
    if (isAccepted) {
      this.#accept();
    }
    if (this.#failures === 0 || (isAccepted && now - this.#attemptBeganAt >= STABLE_MS)) {
      this.#failures = 0;
      this.#failingSince = now;
    }
    if (isDown(failure)) {
      this.#around.rotation.failed(this.#target ?? 0);
    }
    if (this.#wasEmptyStream(failure)) {
      this.#callId = undefined;
      this.#idIsOurs = false;
      return 0;
    }
    if (!this.#isRetryable(failure) && !this.#tokenExpired(failure, isAccepted)) {
      return undefined;
    }
    const delayMs = this.#delayMs(failure);
    this.#failures++;
    return this.#isInTime(now + delayMs) ? delayMs : undefined;
  }

  #noteRun(callId: string | null): void {
    if (this.#idIsOurs && callId !== null && callId !== this.#callId) {
      this.#runId = callId;
    }
  }

  #accept(): void {
    this.#isAccepted = true;
    if (this.#target !== undefined) {
      this.#around.rotation.answered(this.#target);
    }
  }

  /** Whether the caller sent no request: with an id that only attaches and starts no call. */
  #wasEmptyStream(failure: Failure): boolean {
    return failure.reason === "CALL_UNKNOWN" && this.#idIsOurs && !this.#isAccepted;
  }

  #tokenExpired(failure: Failure, isAccepted: boolean): boolean {
    const isExpired = isAccepted && failure.code === Code.Unauthenticated;
    return isExpired && this.#around.renewsToken && this.#hasId;
  }

  /** `share` lets the gateway replace an id of our own by that of an identical run. */
  #cacheDirectives(resumes: boolean): string | undefined {
    const given = this.#given.get(CACHE_CONTROL) ?? undefined;
    if (resumes || !this.#idIsOurs || this.#method?.mayRunAgain !== true) {
      return given;
    }
    return given === undefined ? "share" : `${given}, share`;
  }

  #isRetryable(failure: Failure): boolean {
    const method = this.#method;
    if (method === undefined || (method.isPlain && this.#items > 0)) {
      return false; // a retry of a plain task would send the items again that the caller has seen
    }
    const helps = retryMayHelp(failure);
    if (this.#hasId) {
      return helps || transportRetry(failure) !== undefined;
    }
    const nothingRan = helps && failure.code === Code.ResourceExhausted;
    return nothingRan || ((helps || transportRetry(failure) === "any") && method.mayRunAgain);
  }

  /** Whether another attempt attaches to the same call. */
  get #hasId(): boolean {
    return this.#callId !== undefined && this.#method?.isPlain === false;
  }

  #delayMs(failure: Failure): number {
    if (failure.retryAfterMs !== undefined) {
      return failure.retryAfterMs * (1 + RETRY_INFO_JITTER * this.#around.random());
    }
    const rounds = Math.floor(this.#failures / this.#around.rotation.size);
    return this.#around.random() * Math.min(MAX_BACKOFF_MS, INITIAL_BACKOFF_MS * 2 ** rounds);
  }

  #isInTime(at: number): boolean {
    if (this.#deadline !== Infinity) {
      return at < this.#deadline;
    }
    const retryForMs = this.#isAccepted ? RETRY_FOR_MS : RETRY_UNACCEPTED_FOR_MS;
    return at - this.#failingSince < retryForMs;
  }
}

/** Whether the failure says something of the target, and not only of the call. */
function isDown(failure: Failure): boolean {
  const isUnavailable = failure.code === Code.Unavailable || failure.code === Code.Canceled;
  return (retryMayHelp(failure) && isUnavailable) || transportRetry(failure) !== undefined;
}

function setOrDelete(header: Headers, key: string, value: string | undefined): void {
  if (value === undefined) {
    header.delete(key);
  } else {
    header.set(key, value);
  }
}
