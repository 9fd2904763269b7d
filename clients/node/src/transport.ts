// A transport of Connect to several gateways, whose calls are retried and resumed.

import { randomUUID } from "node:crypto";
import type {
  DescMessage,
  DescMethodStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type {
  ContextValues,
  Interceptor,
  StreamResponse,
  Transport,
  UnaryResponse,
} from "@connectrpc/connect";
import { Call } from "./call.js";
import { CancelSender } from "./cancel.js";
import { checkToken, Connection, type Tls, type Token } from "./connection.js";
import type { Failure } from "./errors.js";
import { CALL_ID, ResumePolicy } from "./policy.js";
import { Rotation } from "./rotation.js";
import { requestId, routeOf, type Routes } from "./routes.js";
import { readTargets } from "./targets.js";

export interface TransportOptions {
  /** "HOST:PORT,HOST:PORT", or an array. */
  readonly targets: string | readonly string[];
  /** Unset: plain text. */
  readonly tls?: Tls | undefined;
  /** Sent as `authorization: Bearer TOKEN`. Needs TLS, but for targets on this machine. */
  readonly token?: Token | undefined;
  /** Routes that the gateways have in a file, and not in the `.proto`. */
  readonly routes?: Routes | undefined;
  /** False: each call is attempted once. */
  readonly resume?: boolean | undefined;
  /** Run for each attempt; every call is a stream to them. */
  readonly interceptors?: readonly Interceptor[] | undefined;
  /** Called before each further attempt, such as to log it. */
  readonly onRetry?: ((event: RetryEvent) => void) | undefined;
}

/** A further attempt is due. */
export interface RetryEvent {
  /** Such as "forebay.compute.v1.ComputeService.Factorial". */
  readonly method: string;
  readonly callId: string | undefined;
  /** The target that failed. */
  readonly target: string;
  readonly failure: Failure;
  readonly delayMs: number;
}

/** To be closed: an open connection may keep the process from exiting. */
export interface ForebayTransport extends Transport {
  /** Cancels the calls in flight, and closes the connections. */
  close(): Promise<void>;
}

/** Opens its connections at the first calls. Throws a TypeError if an option is wrong. */
export function createTransport(options: TransportOptions): ForebayTransport {
  return new ResumingTransport(options);
}

class ResumingTransport implements ForebayTransport {
  readonly #options: TransportOptions;
  readonly #targets: readonly string[];
  readonly #connections: readonly Connection[];
  readonly #rotation: Rotation;
  readonly #cancels = new CancelSender();
  readonly #calls = new Set<{ cancel(): void }>();
  #isClosed = false;

  constructor(options: TransportOptions) {
    const { tls, token, interceptors = [] } = options;
    const ofConnections = { tls, token, interceptors };
    this.#options = options;
    this.#targets = readTargets(options.targets);
    checkToken(ofConnections, this.#targets);
    this.#connections = this.#targets.map((target) => new Connection(target, ofConnections));
    const first = Math.floor(Math.random() * this.#targets.length);
    this.#rotation = new Rotation(this.#targets.length, now, first);
  }

  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: HeadersInit | undefined,
    input: MessageInitShape<I>,
    contextValues?: ContextValues,
  ): Promise<UnaryResponse<I, O>> {
    // As a stream, so that the header is known if the connection is lost before the response.
    const asStream = method as unknown as DescMethodStreaming<I, O>;
    const id = this.#options.resume === false ? "" : requestId(method, input);
    const response = await this.stream(
      asStream,
      signal,
      timeoutMs,
      id ? withDefault(header, CALL_ID, id) : header,
      one(input),
      contextValues,
    );
    let only: MessageShape<O> | undefined;
    for await (const message of response.message) {
      only = message;
    }
    if (only === undefined) {
      throw new ConnectError("the gateway sent a status, but no response", Code.Unimplemented);
    }
    return { ...response, stream: false, method, message: only };
  }

  async stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodStreaming<I, O>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: HeadersInit | undefined,
    input: AsyncIterable<MessageInitShape<I>>,
    contextValues?: ContextValues,
  ): Promise<StreamResponse<I, O>> {
    if (this.#isClosed) {
      throw new ConnectError("the transport is closed", Code.Canceled);
    }
    const { resume, routes, token } = this.#options;
    const deadlineMs = timeoutMs !== undefined && timeoutMs > 0 ? timeoutMs : undefined;
    const policy = new ResumePolicy(
      resume === false ? undefined : routeOf(method, routes),
      header,
      deadlineMs, // as in Connect, 0 is none
      {
        rotation: this.#rotation,
        clock: now,
        random: Math.random,
        newId: randomUUID,
        renewsToken: typeof token === "function",
      },
    );
    const abort = () => call.cancel(signal?.reason);
    const call = new Call({
      method,
      input,
      policy,
      contextValues,
      connections: this.#connections,
      onRetry: (failure, delayMs) =>
        this.#options.onRetry?.({
          method: `${method.parent.typeName}.${method.name}`,
          callId: policy.callId,
          target: this.#targets[policy.target ?? 0] as string,
          failure,
          delayMs,
        }),
      onCancel: () => this.#cancels.send(policy, this.#connections),
      onOver: () => {
        signal?.removeEventListener("abort", abort);
        this.#calls.delete(call);
      },
    });
    signal?.addEventListener("abort", abort);
    this.#calls.add(call);
    if (signal?.aborted) {
      abort();
    }
    return call.response();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#calls.forEach((call) => call.cancel());
    await this.#cancels.sent();
    this.#connections.forEach((connection) => connection.close());
  }
}

function now(): number {
  return performance.now();
}

function withDefault(header: HeadersInit | undefined, key: string, value: string): Headers {
  const filled = new Headers(header);
  if (!filled.has(key)) {
    filled.set(key, value);
  }
  return filled;
}

async function* one<T>(message: T): AsyncGenerator<T> {
  yield message;
}
