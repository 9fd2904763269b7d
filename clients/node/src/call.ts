// One call: its attempts over several targets, joined into one stream of responses.

import { setTimeout } from "node:timers/promises";
import type {
  DescMessage,
  DescMethod,
  DescMethodStreaming,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { ContextValues, StreamResponse } from "@connectrpc/connect";
import type { Connection } from "./connection.js";
import { type Failure, failureOf } from "./errors.js";
import type { ResumePolicy } from "./policy.js";
import { Replay } from "./replay.js";
import { withGrpcCode } from "./transport-errors.js";

export interface CallOptions<I extends DescMessage, O extends DescMessage> {
  readonly method: DescMethodStreaming<I, O>;
  readonly input: AsyncIterable<MessageInitShape<I>>;
  readonly policy: ResumePolicy;
  readonly contextValues: ContextValues | undefined;
  readonly connections: readonly Connection[];
  /** Called when a further attempt is due. */
  readonly onRetry: (failure: Failure, delayMs: number) => void;
  /** Called once, if the call is ended by `cancel`. */
  readonly onCancel: () => void;
  /** Called once, when the call is over. */
  readonly onOver: () => void;
}

export class Call<I extends DescMessage, O extends DescMessage> {
  readonly #options: CallOptions<I, O>;
  readonly #requests: Replay<MessageInitShape<I>>;
  readonly #cancelled = new AbortController();
  /** The messages of the latest attempt. */
  #reading: AsyncIterator<MessageShape<O>> | undefined;
  #isOver = false;

  constructor(options: CallOptions<I, O>) {
    this.#options = options;
    this.#requests = new Replay(options.input);
  }

  /** Ends the call, unless it is over. */
  cancel(reason?: unknown): void {
    if (!this.#isOver) {
      this.#options.onCancel();
      this.#cancelled.abort(reason);
      void readToItsEnd(this.#reading); // else Connect keeps the deadline's timer
      this.#end();
    }
  }

  /** Resolves when an attempt has the gateway's header; its messages are those of all attempts. */
  async response(): Promise<StreamResponse<I, O>> {
    const first = await this.#next();
    const trailer = new Headers();
    return { ...first, trailer, message: this.#messages(first, trailer) };
  }

  /** Ends when an attempt has succeeded; throws when the call has failed. */
  async *#messages(
    first: StreamResponse<I, O>,
    trailer: Headers,
  ): AsyncGenerator<MessageShape<O>> {
    try {
      for (let response = first; ; response = await this.#next()) {
        try {
          yield* this.#messagesOf(response);
          response.trailer.forEach((value, key) => trailer.append(key, value));
          this.#end();
          return;
        } catch (error) {
          await this.#waitToRetry(error, response.header);
        }
      }
    } finally {
      this.cancel(); // if the caller has left the loop early
    }
  }

  /** A response comes after its status if there is only one, so that a retry can't be its second. */
  async *#messagesOf(response: StreamResponse<I, O>): AsyncGenerator<MessageShape<O>> {
    const { method, policy } = this.#options;
    const kind = method.methodKind as DescMethod["methodKind"];
    let only: MessageShape<O> | undefined;
    const reading = (this.#reading = response.message[Symbol.asyncIterator]());
    for (let next = await reading.next(); next.done !== true; next = await reading.next()) {
      const message = next.value;
      if (kind === "unary" || kind === "client_streaming") {
        only = message;
        continue;
      }
      policy.onResponse(message);
      if (!policy.sendsRequests) {
        this.#requests.release();
      }
      yield message;
    }
    if (only !== undefined) {
      yield only;
    }
  }

  /** The next attempt that gets a header. */
  async #next(): Promise<StreamResponse<I, O>> {
    for (;;) {
      try {
        return await this.#attempt();
      } catch (error) {
        await this.#waitToRetry(error, ConnectError.from(error).metadata);
      }
    }
  }

  async #attempt(): Promise<StreamResponse<I, O>> {
    const { method, policy, connections, contextValues } = this.#options;
    const { target, timeoutMs, header, sendsRequests } = policy.attempt();
    const connection = connections[target] as Connection;
    const { signal } = this.#cancelled;
    await connection.open(signal, timeoutMs);
    const requests = sendsRequests ? this.#requests.requests() : nothing();
    return connection.transport.stream(method, signal, timeoutMs, header, requests, contextValues);
  }

  /** Returns when the next attempt is due; throws the error if there is none. */
  async #waitToRetry(error: unknown, initial: Headers): Promise<void> {
    const { policy, onRetry } = this.#options;
    const { signal } = this.#cancelled;
    const failed = withGrpcCode(error);
    const failure = failureOf(failed);
    const delayMs =
      signal.aborted || this.#requests.hasFailed ? undefined : policy.onFailure(failure, initial);
    if (delayMs !== undefined) {
      onRetry(failure, delayMs);
      await setTimeout(delayMs, undefined, { signal }).catch(() => undefined);
    }
    if (signal.aborted) {
      this.#end();
      throw new ConnectError("the call was cancelled", Code.Canceled, {}, [], signal.reason);
    }
    if (delayMs === undefined) {
      this.#end();
      throw failed;
    }
  }

  #end(): void {
    if (!this.#isOver) {
      this.#isOver = true;
      this.#options.onOver();
    }
  }
}

async function* nothing(): AsyncGenerator<never> {}

/** Reads what is left of an aborted attempt: some messages, perhaps, and the error. */
async function readToItsEnd(messages: AsyncIterator<unknown> | undefined): Promise<void> {
  try {
    while ((await messages?.next())?.done === false);
  } catch {
    // It is the end.
  }
}
