import type { DescMethodBiDiStreaming, DescMethodServerStreaming } from "@bufbuild/protobuf";
import type { DescMessage, DescService } from "@bufbuild/protobuf";
import { createClient as createConnectClient, makeAnyClient } from "@connectrpc/connect";
import type { CallOptions, Client, Transport } from "@connectrpc/connect";

type Streaming = (input: unknown, options?: CallOptions) => AsyncIterable<unknown>;

/** Connect's client of a service, with one difference: leaving a loop early cancels its call. */
export function createClient<S extends DescService>(service: S, transport: Transport): Client<S> {
  const inner = createConnectClient(service, transport) as Record<string, unknown>;
  return makeAnyClient(service, (method) => {
    const call = inner[method.localName];
    return isResponseStream(method) ? cancelling(call as Streaming) : (call as never);
  }) as Client<S>;
}

function isResponseStream(
  method: DescService["methods"][number],
): method is DescMethodServerStreaming<DescMessage, DescMessage> | DescMethodBiDiStreaming {
  return method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming";
}

/** Connect's own iterables hide that the caller has left the loop. */
function cancelling(call: Streaming): Streaming {
  return (input, options = {}) => {
    const left = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, left.signal]) : left.signal;
    const responses = call(input, { ...options, signal });
    return {
      [Symbol.asyncIterator]() {
        const iterator = responses[Symbol.asyncIterator]();
        return {
          next: () => iterator.next(),
          async return(value?: unknown) {
            left.abort();
            return { done: true as const, value };
          },
        };
      },
    };
  };
}
