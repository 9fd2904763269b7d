// The part of a route that its client needs, read from generated descriptors. Pure.

import { create, getOption, hasOption, isFieldSet, ScalarType } from "@bufbuild/protobuf";
import type { DescField, DescMethod, Message, MessageInitShape } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { field_info, FieldInfo_Format } from "./gen/google/api/field_info_pb.js";
import { operation_info } from "./gen/google/longrunning/operations_pb.js";
import { OnDisconnect, route as routeOption, RouteSchema } from "./gen/forebay/v1/route_pb.js";

/** Routes of methods whose `.proto` has none, by full name, as in a gateway's routes file. */
export type Routes = Readonly<Record<string, MessageInitShape<typeof RouteSchema>>>;

/** A method with a route. */
export interface RoutedMethod {
  /** Calls without an id of the caller's own have no record to attach to. */
  readonly isEphemeral: boolean;
  /** A plain Celery task: no call has a record. */
  readonly isPlain: boolean;
  /** The handler reads requests while the caller sends them. */
  readonly isLive: boolean;
  /** Calls go on when their caller has disconnected. */
  readonly detaches: boolean;
  readonly mayRunAgain: boolean;
  readonly streamsRequests: boolean;
  readonly streamsResponses: boolean;
  /** Whether the response is neither stored nor counted, such as progress. */
  isTransient(response: Message): boolean;
}

/** The method's route; undefined if it has none. */
export function routeOf(method: DescMethod, routes: Routes = {}): RoutedMethod | undefined {
  const given = routes[`${method.parent.typeName}.${method.name}`];
  if (given === undefined && !hasOption(method, routeOption)) {
    return undefined;
  }
  const route = given ? create(RouteSchema, given) : getOption(method, routeOption);
  const transient = method.output.fields.find((field) => field.name === route.transient);
  const kind = method.methodKind;
  return {
    isEphemeral: route.ephemeral,
    isPlain: route.plain !== undefined,
    isLive: route.live,
    detaches: route.onDisconnect === OnDisconnect.DETACH || returnsOperation(method),
    mayRunAgain:
      method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS ||
      method.idempotency === MethodOptions_IdempotencyLevel.IDEMPOTENT,
    streamsRequests: kind === "client_streaming" || kind === "bidi_streaming",
    streamsResponses: kind === "server_streaming" || kind === "bidi_streaming",
    isTransient: (response) => transient !== undefined && isFieldSet(response, transient),
  };
}

/** The id that the request of an operation gives its call; empty if there is none. */
export function requestId(method: DescMethod, request: object): string {
  const field = method.input.fields.find((one) => one.name === "request_id");
  if (field === undefined || !isText(field) || !returnsOperation(method)) {
    return "";
  }
  const given: unknown = (request as Record<string, unknown>)[field.localName];
  if (typeof given !== "string" || !/^[A-Za-z0-9._:-]{1,128}$/.test(given)) {
    return ""; // the gateway says what is wrong with it
  }
  const isUuid = getOption(field, field_info).format === FieldInfo_Format.UUID4;
  return isUuid ? given.toLowerCase() : given;
}

function returnsOperation(method: DescMethod): boolean {
  return (
    method.output.typeName === "google.longrunning.Operation" && hasOption(method, operation_info)
  );
}

function isText(field: DescField): boolean {
  return field.fieldKind === "scalar" && field.scalar === ScalarType.STRING;
}
