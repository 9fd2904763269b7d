import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { CancelSender } from "../src/cancel.js";
import type { Failure } from "../src/errors.js";
import {
  ComputeService,
  FactorialResponseSchema,
} from "../src/gen/forebay/compute/v1/compute_pb.js";
import { ATTACHED, CALL_ID, ResumePolicy } from "../src/policy.js";
import { Rotation } from "../src/rotation.js";
import { type RoutedMethod, routeOf } from "../src/routes.js";

const FACTORIAL = routeOf(ComputeService.method.factorial) as RoutedMethod;
const ADD = routeOf(ComputeService.method.add) as RoutedMethod;
const MAT_MUL = routeOf(ComputeService.method.matMul) as RoutedMethod;
const ONLY_ONCE: RoutedMethod = { ...FACTORIAL, mayRunAgain: false };
const DIGITS = create(FactorialResponseSchema, { part: { case: "digits", value: "1" } });
const PROGRESS = create(FactorialResponseSchema, { part: { case: "progress", value: {} } });
const ACCEPTED = new Headers({ [ATTACHED]: "new" });

function failure(code: Code, more: Partial<Failure> = {}): Failure {
  const none = { message: "", reason: "", domain: "", violations: [], quota: "" };
  return { code, ...none, retryAfterMs: undefined, ...more };
}

const LOST = failure(Code.Unavailable);

/** A policy on a clock that the test moves, with random numbers that are all 1. */
class World {
  now = 0;
  readonly policy: ResumePolicy;

  constructor(
    method = FACTORIAL,
    { header = {}, timeoutMs, targets = 2, renewsToken = false }: Partial<Given> = {},
  ) {
    const clock = () => this.now;
    const rotation = new Rotation(targets, clock);
    const newId = () => "ours";
    const around = { rotation, clock, random: () => 1, newId, renewsToken };
    this.policy = new ResumePolicy(method, header, timeoutMs, around);
  }

  /** Begins an attempt, which fails. */
  fail(error = LOST, initial = new Headers()): number | undefined {
    this.policy.attempt();
    return this.policy.onFailure(error, initial);
  }
}

interface Given {
  header: HeadersInit;
  timeoutMs: number;
  targets: number;
  renewsToken: boolean;
}

test("a durable call has an id, and keeps it", () => {
  const { policy } = new World();
  assert.equal(policy.attempt().header.get(CALL_ID), "ours");
  policy.onFailure(LOST, new Headers());
  assert.equal(policy.attempt().header.get(CALL_ID), "ours");
});

test("the caller's own id is kept", () => {
  const { policy } = new World(FACTORIAL, { header: { [CALL_ID]: "mine" } });
  assert.equal(policy.attempt().header.get(CALL_ID), "mine");
  assert.equal(policy.attempt().header.get("forebay-cache-control"), null);
});

test("the next attempt goes to another target, and continues behind the items", () => {
  const { policy } = new World();
  const first = policy.attempt();
  assert.equal(first.header.get("forebay-resume-from"), null);
  policy.onResponse(PROGRESS);
  policy.onResponse(DIGITS);
  policy.onResponse(DIGITS);
  assert.equal(policy.onFailure(LOST, ACCEPTED), 100);
  const second = policy.attempt();
  assert.notEqual(second.target, first.target);
  assert.equal(second.header.get("forebay-resume-from"), "2");
});

test("items from before the call count", () => {
  const { policy } = new World(FACTORIAL, { header: { "forebay-resume-from": "5" } });
  assert.equal(policy.attempt().header.get("forebay-resume-from"), "5");
  policy.onResponse(DIGITS);
  assert.equal(policy.attempt().header.get("forebay-resume-from"), "6");
});

test("the delay of a RetryInfo is kept, and a little longer", () => {
  const full = failure(Code.ResourceExhausted, {
    reason: "QUEUE_FULL",
    domain: "forebay",
    retryAfterMs: 1000,
  });
  assert.equal(new World().fail(full), 1200);
});

test("what a gateway says without a RetryInfo is final", () => {
  const own = { reason: "HANDLER_ABORTED", domain: "forebay" };
  for (const code of [Code.Unavailable, Code.Internal, Code.Unknown, Code.NotFound, Code.Aborted]) {
    assert.equal(new World().fail(failure(code, own)), undefined);
  }
});

test("transport errors are retried, limits and rejections are not", () => {
  const retried = [Code.Unavailable, Code.Internal, Code.Unknown];
  for (const code of retried) {
    assert.equal(new World().fail(failure(code)), 100, Code[code]);
  }
  const final = [Code.ResourceExhausted, Code.Unimplemented, Code.PermissionDenied, Code.NotFound];
  for (const code of final) {
    assert.equal(new World().fail(failure(code)), undefined, Code[code]);
  }
  for (const message of ["HTTP 413", "HTTP 400", "serialize binary: x", "parse binary: x"]) {
    assert.equal(new World().fail(failure(Code.Unknown, { message })), undefined, message);
  }
  for (const message of ["HTTP 429", "HTTP 408", "HTTP 503"]) {
    assert.equal(new World().fail(failure(Code.Unavailable, { message })), 100, message);
  }
});

test("an ephemeral call is retried if it may run again, or if nothing has run", () => {
  const full = { reason: "QUEUE_FULL", domain: "forebay", retryAfterMs: 10 };
  const once = { ...ADD, mayRunAgain: false };
  assert.equal(new World(ADD).policy.attempt().header.get(CALL_ID), null);
  assert.equal(new World(ADD).fail(), 100);
  assert.equal(new World(once).fail(), undefined);
  assert.equal(new World(once).fail(failure(Code.ResourceExhausted, full)), 12);
  assert.equal(new World(ADD).fail(failure(Code.DeadlineExceeded)), undefined);
});

test("a call with an id attaches again after a proxy's limit on its duration", () => {
  assert.equal(new World(ONLY_ONCE).fail(failure(Code.DeadlineExceeded)), 100);
});

test("a plain task is not retried once the caller has an item", () => {
  const world = new World({ ...FACTORIAL, isPlain: true });
  world.policy.attempt();
  world.policy.onResponse(DIGITS);
  assert.equal(world.policy.onFailure(LOST, ACCEPTED), undefined);
});

test("a method without a route is attempted once", () => {
  const none = new ResumePolicy(undefined, {}, undefined, {
    rotation: new Rotation(1, () => 0),
    clock: () => 0,
    random: () => 1,
    newId: () => "ours",
    renewsToken: false,
  });
  assert.equal(none.attempt().header.get(CALL_ID), null);
  assert.equal(none.onFailure(LOST, new Headers()), undefined);
});

test("the deadline bounds all attempts", () => {
  const world = new World(FACTORIAL, { timeoutMs: 1000 });
  assert.equal(world.policy.attempt().timeoutMs, 1000);
  world.now = 400.5;
  assert.equal(world.policy.onFailure(LOST, ACCEPTED), 100);
  assert.equal(world.policy.attempt().timeoutMs, 600);
  world.now = 950;
  assert.equal(world.policy.onFailure(LOST, ACCEPTED), undefined);
});

test("without a deadline a call that no gateway accepted fails after 10 s, another after 60 s", () => {
  const unaccepted = new World();
  assert.notEqual(unaccepted.fail(), undefined);
  unaccepted.now = 9_000;
  assert.notEqual(unaccepted.fail(), undefined);
  unaccepted.now = 10_000;
  assert.equal(unaccepted.fail(), undefined);

  const accepted = new World();
  assert.notEqual(accepted.fail(LOST, ACCEPTED), undefined);
  accepted.now = 50_000;
  assert.notEqual(accepted.fail(), undefined);
  accepted.now = 60_000;
  assert.equal(accepted.fail(), undefined);
});

test("an accepted attempt that lasted restarts the time", () => {
  const world = new World();
  world.fail(LOST, ACCEPTED);
  world.policy.attempt();
  world.now = 100_000;
  assert.equal(world.policy.onFailure(LOST, ACCEPTED), 100);
});

test("delays grow once all targets have failed, up to 5 s", () => {
  const world = new World(FACTORIAL, { timeoutMs: 1e6 });
  const delays = Array.from({ length: 6 }, () => world.fail());
  assert.deepEqual(delays, [100, 100, 200, 200, 400, 400]);
  for (let more = 0; more < 20; more++) {
    world.fail();
  }
  assert.equal(world.fail(), 5_000);
});

test("an accepted upload is not sent again", () => {
  const { policy } = new World(MAT_MUL);
  assert.equal(policy.attempt().sendsRequests, true);
  policy.onFailure(LOST, new Headers());
  assert.equal(policy.attempt().sendsRequests, true);
  policy.onFailure(LOST, ACCEPTED);
  assert.equal(policy.attempt().sendsRequests, false);
});

test("the requests of a live call are always sent again", () => {
  const { policy } = new World({ ...MAT_MUL, isLive: true });
  policy.attempt();
  policy.onFailure(LOST, ACCEPTED);
  assert.equal(policy.attempt().sendsRequests, true);
});

test("an empty upload is repeated without an id, which would only attach", () => {
  const { policy } = new World(MAT_MUL);
  policy.attempt();
  const unknown = failure(Code.NotFound, { reason: "CALL_UNKNOWN", domain: "forebay" });
  assert.equal(policy.onFailure(unknown, new Headers()), 0);
  assert.equal(policy.attempt().header.get(CALL_ID), null);
});

test("a call that shares a run resumes that run, and does not cancel it", () => {
  const { policy } = new World();
  assert.equal(policy.attempt().header.get("forebay-cache-control"), "share");
  policy.onResponse(DIGITS);
  policy.onFailure(LOST, new Headers({ [ATTACHED]: "running", [CALL_ID]: "the-run" }));
  const { header } = policy.attempt();
  assert.equal(header.get(CALL_ID), "the-run");
  assert.equal(header.get("forebay-cache-control"), null);
  assert.equal(policy.endsOnDisconnect, false);
});

test("a call whose token has expired goes on with a fresh one", () => {
  const expired = failure(Code.Unauthenticated, { reason: "UNAUTHENTICATED", domain: "forebay" });
  assert.equal(new World(FACTORIAL, { renewsToken: true }).fail(expired, ACCEPTED), 100);
  assert.equal(new World(FACTORIAL, { renewsToken: true }).fail(expired), undefined);
  assert.equal(new World(FACTORIAL).fail(expired, ACCEPTED), undefined);
});

test("a call is cancelled on the target of its attempt, between two attempts on another", () => {
  const { policy } = new World();
  assert.equal(policy.cancelTarget(), undefined);
  const { target } = policy.attempt();
  assert.equal(policy.cancelTarget(), target);
  policy.onFailure(LOST, ACCEPTED);
  assert.equal(policy.cancelTarget(), 1 - target);
  policy.attempt();
  assert.equal(policy.cancelTarget(), 1 - target);
});

test("a call that goes on without its caller is not cancelled", () => {
  assert.equal(new World().policy.endsOnDisconnect, true);
  assert.equal(new World({ ...FACTORIAL, detaches: true }).policy.endsOnDisconnect, false);
  const detach = { header: { "forebay-on-disconnect": "detach" } };
  assert.equal(new World(FACTORIAL, detach).policy.endsOnDisconnect, false);
});

test("cancelling a call that goes on without its caller takes no turn of the targets", () => {
  const header = { "forebay-on-disconnect": "detach" };
  const { policy } = new World(FACTORIAL, { header, targets: 3 });
  const { target } = policy.attempt();
  policy.onFailure(LOST, ACCEPTED);
  new CancelSender().send(policy, []);
  assert.equal(policy.attempt().target, (target + 1) % 3);
});
