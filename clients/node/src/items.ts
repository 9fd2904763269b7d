import type { DescMessage, DescMethod, Message } from "@bufbuild/protobuf";
import { routeOf, type Routes } from "./routes.js";

/**
 * The ordinary responses of a call. Those in the route's transient field, such as progress, go to
 * `onTransient`; if it throws, the call is cancelled and its error thrown.
 */
export async function* items<M extends Message>(
  method: DescMethod & { readonly output: DescMessage & { readonly typeName: M["$typeName"] } },
  responses: AsyncIterable<M>,
  onTransient: (response: M) => void,
  routes?: Routes,
): AsyncGenerator<M> {
  const route = routeOf(method, routes);
  for await (const response of responses) {
    if (route?.isTransient(response)) {
      onTransient(response);
    } else {
      yield response;
    }
  }
}
