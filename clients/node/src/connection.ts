// One target: its HTTP/2 connection, which is opened at the first call, and the gRPC transport on it.

import type { ClientSessionOptions, SecureClientSessionOptions } from "node:http2";
import { setTimeout } from "node:timers/promises";
import type { Interceptor, Transport } from "@connectrpc/connect";
import { Code, ConnectError } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { isLoopback } from "./targets.js";

/** A token, or a function that makes a fresh one for each RPC. */
export type Token = string | (() => string | Promise<string>);

/** Of Node's TLS, such as `ca`, `cert` and `key`; true for Node's own list of authorities. */
export type Tls = true | SecureClientSessionOptions;

export interface ConnectionOptions {
  readonly tls: Tls | undefined;
  readonly token: Token | undefined;
  readonly interceptors: readonly Interceptor[];
}

// Finds a dead connection within 30 s; gateways accept a ping every 10 s.
const PING = { pingIntervalMs: 20_000, pingTimeoutMs: 10_000 };

/** A target that has not answered by then is not waited for: another may be there. */
const CONNECT_WITHIN_MS = 10_000;

export class Connection {
  readonly transport: Transport;
  readonly #session: Http2SessionManager;

  constructor(target: string, options: ConnectionOptions) {
    const { tls, token } = options;
    const baseUrl = `${tls === undefined ? "http" : "https"}://${target}`;
    const session: ClientSessionOptions = tls === undefined || tls === true ? {} : tls;
    this.#session = new Http2SessionManager(baseUrl, PING, session);
    this.transport = createGrpcTransport({
      baseUrl,
      sessionManager: this.#session,
      interceptors: [...options.interceptors, ...(token === undefined ? [] : [withToken(token)])],
    });
  }

  /**
   * Opens the connection if there is none; throws UNAVAILABLE if that fails or takes too long.
   * Returns early if the signal is aborted.
   */
  async open(signal: AbortSignal, withinMs = Infinity): Promise<void> {
    const opened = new AbortController();
    const timer = setTimeout(Math.min(withinMs, CONNECT_WITHIN_MS), "late" as const, {
      signal: AbortSignal.any([signal, opened.signal]),
    }).catch(() => "aborted" as const);
    const first = await Promise.race([this.#session.connect(), timer]);
    opened.abort();
    if (first === "late") {
      const error = new ConnectError("the connection was not opened in time", Code.Unavailable);
      this.#session.abort(error);
      throw error;
    }
    if (first === "error") {
      const cause = this.#session.error();
      const message = cause instanceof Error ? cause.message : "the connection failed";
      throw new ConnectError(message, Code.Unavailable, undefined, undefined, cause);
    }
  }

  close(): void {
    this.#session.abort();
  }
}

/** Throws a TypeError if others could read the token on its way. */
export function checkToken(options: ConnectionOptions, targets: readonly string[]): void {
  const exposed = targets.filter((target) => !isLoopback(target));
  if (options.token !== undefined && options.tls === undefined && exposed.length > 0) {
    throw new TypeError(
      `a token for ${exposed.join(", ")} needs TLS, or others could read it: set \`tls\``,
    );
  }
}

function withToken(token: Token): Interceptor {
  return (next) => async (request) => {
    if (!request.header.has("authorization")) {
      request.header.set("authorization", `Bearer ${await read(token)}`);
    }
    return next(request);
  };
}

async function read(token: Token): Promise<string> {
  try {
    const made = typeof token === "string" ? token : await token();
    if (/^[\x21-\x7e]+$/.test(made)) {
      return made;
    }
  } catch (cause) {
    throw new ConnectError("there is no token", Code.Unauthenticated, {}, [], cause);
  }
  throw new ConnectError("the token is empty or has other characters", Code.Unauthenticated);
}
