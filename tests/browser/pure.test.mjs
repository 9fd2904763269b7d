// The parts of the page that only compute. Run by `node --test`; PAGE is the folder of its modules.
import assert from "node:assert/strict";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

const load = (name) => import(new URL(name, `${pathToFileURL(process.env.PAGE)}/`));
const { filterText, quoted } = await load("filters.js");
const { bytes, duration, idOf } = await load("format.js");
const { fieldsOf, readTypes } = await load("descriptors.js");
const { grpcurl, python } = await load("snippets.js");
const { eventsOf } = await load("timeline.js");

test("a filter has a comparison for each field that is set", () => {
  assert.equal(filterText({}), "");
  assert.equal(
    filterText({ state: "ACTIVE", method: "Add", queue: "math", worker: "w1", id: "0193" }),
    'done = false AND method = "*.Add" AND queue = "math" AND worker = "*w1*" AND name = "*0193*"',
  );
  assert.equal(
    filterText({ state: "ENDED", method: "a.v1.S.M" }),
    'done = true AND method = "a.v1.S.M"',
  );
  assert.equal(
    filterText({ since: "2026-01-01T00:00Z" }),
    'create_time >= "2026-01-01T00:00:00.000Z"',
  );
  assert.equal(filterText({ until: "no time" }), "");
});

test("a text in a filter is no syntax", () => {
  assert.equal(quoted('a" OR "b\\'), '"a\\" OR \\"b\\\\"');
});

test("values are short and have units", () => {
  const shown = [0, 0.0123, 1.26, 59, 61, 3725, 90000, undefined].map(duration);
  assert.deepEqual(shown, [
    "0 ms",
    "12 ms",
    "1.3 s",
    "59 s",
    "1 min 1 s",
    "1 h 2 min",
    "1 d 1 h",
    "–",
  ]);
  assert.deepEqual(["10", 2048, 3 * 2 ** 30].map(bytes), ["10 B", "2.0 KiB", "3.0 GiB"]);
});

test("an id has its tenant where its operation has one", () => {
  assert.equal(idOf("operations/a"), "a");
  assert.equal(idOf("tenants/acme/operations/a"), "acme/a");
  assert.equal(idOf("tenants//operations/a"), "/a");
  assert.equal(idOf("<b>/x"), "<b>/x");
});

const FILE = {
  name: "shop/v1/my-shop.proto",
  package: "shop.v1",
  messageType: [
    {
      name: "Order",
      field: [
        { name: "item_id", jsonName: "itemId", label: "LABEL_OPTIONAL", type: "TYPE_INT64" },
        {
          name: "ratio",
          label: "LABEL_OPTIONAL",
          type: "TYPE_DOUBLE",
          oneofIndex: 1,
          proto3Optional: true,
        },
        { name: "tags", label: "LABEL_REPEATED", type: "TYPE_STRING" },
        {
          name: "stock",
          label: "LABEL_REPEATED",
          type: "TYPE_MESSAGE",
          typeName: ".shop.v1.Order.StockEntry",
        },
        {
          name: "gift",
          label: "LABEL_OPTIONAL",
          type: "TYPE_MESSAGE",
          typeName: ".shop.v1.Order",
          oneofIndex: 0,
        },
        {
          name: "kind",
          label: "LABEL_OPTIONAL",
          type: "TYPE_ENUM",
          typeName: ".shop.v1.Kind",
          oneofIndex: 0,
        },
        {
          name: "at",
          label: "LABEL_OPTIONAL",
          type: "TYPE_MESSAGE",
          typeName: ".google.protobuf.Timestamp",
        },
      ],
      oneofDecl: [{ name: "choice" }, { name: "_ratio" }],
      nestedType: [
        {
          name: "StockEntry",
          options: { mapEntry: true },
          field: [
            { name: "key", label: "LABEL_OPTIONAL", type: "TYPE_STRING" },
            { name: "value", label: "LABEL_OPTIONAL", type: "TYPE_UINT32" },
          ],
        },
      ],
    },
  ],
  enumType: [{ name: "Kind", value: [{ name: "KIND_UNSPECIFIED" }, { name: "KIND_SMALL" }] }],
};

test("the fields of a message are those of its descriptor", () => {
  const found = fieldsOf(readTypes([FILE]), ".shop.v1.Order");
  const by = Object.fromEntries(found.map((field) => [field.protoName, field]));
  assert.deepEqual([by.item_id.name, by.item_id.kind], ["itemId", "text"]); // JSON has it as a text
  assert.deepEqual([by.ratio.kind, by.ratio.oneof], ["number", undefined]);
  assert.equal(by.tags.isRepeated, true);
  assert.deepEqual(
    [by.stock.kind, by.stock.key.kind, by.stock.value.kind],
    ["map", "text", "number"],
  );
  assert.deepEqual([by.gift.oneof, by.gift.type], ["choice", ".shop.v1.Order"]);
  assert.deepEqual(by.kind.options, ["KIND_UNSPECIFIED", "KIND_SMALL"]);
  assert.deepEqual([by.at.kind, by.at.hint], ["text", "2026-01-31T14:05:09Z"]);
  assert.deepEqual(fieldsOf(readTypes([FILE]), ".no.Such"), []);
});

const CALL = {
  ...{ files: [FILE], path: "shop.v1.Shop/Buy", requestType: "shop.v1.Order", seconds: 30 },
  ...{
    request: { tags: ["it's"] },
    callId: "my-id",
    clientStreaming: false,
    serverStreaming: true,
  },
};

test("a snippet for grpcurl quotes for the shell", () => {
  const open = { address: "127.0.0.1:50051", isSecure: false, knowsCallers: false };
  const words = grpcurl(CALL, open);
  assert.ok(words.includes(`-d '{"tags":["it'\\''s"]}'`), words);
  assert.ok(words.startsWith("grpcurl -plaintext -max-time 30 -H 'forebay-call-id: my-id'"), words);
  const closed = grpcurl(CALL, { ...open, isSecure: true, knowsCallers: true });
  assert.ok(
    !closed.includes("-plaintext") && closed.includes('"authorization: Bearer $TOKEN"'),
    closed,
  );
});

test("a snippet for Python imports what protoc makes of the file", () => {
  const text = python(CALL, { address: "gateway:443", isSecure: true, knowsCallers: true });
  for (const line of [
    "from shop.v1 import my_shop_pb2",
    "from shop.v1 import my_shop_pb2_grpc",
    'with grpc.secure_channel("gateway:443", grpc.ssl_channel_credentials()) as channel:',
    "    stub = my_shop_pb2_grpc.ShopStub(channel)",
    'token = os.environ["TOKEN"]',
    "        print(response)",
  ]) {
    assert.ok(text.split("\n").includes(line), `${line} in:\n${text}`);
  }
});

const [ACCEPTED, QUEUED, FIRST, LAPSED, SECOND, ENDED] = [1, 2, 3, 4, 5, 6].map(
  (second) => `2026-01-01T00:00:0${second}Z`,
);
const WAITING = { state: "CALL_STATE_QUEUED", createTime: ACCEPTED, queueTime: QUEUED };

test("a timeline has the first attempt and the end", () => {
  const ended = { ...WAITING, state: "CALL_STATE_FAILED", beginTime: FIRST, finishTime: ENDED };
  assert.deepEqual(eventsOf({ ...ended, attempt: 1 }), [
    ["Accepted", ACCEPTED],
    ["Queued, with all its requests", QUEUED],
    ["Attempt 1 began", FIRST],
    ["Ended: FAILED", ENDED],
  ]);
});

test("a timeline has attempts that lost their worker, and the next one once it has begun", () => {
  const earlierAttempts = [{ attempt: 1, worker: "w@a", beginTime: FIRST, lapseTime: LAPSED }];
  const again = { ...WAITING, attempt: 2, earlierAttempts, beginTime: FIRST };
  const lost = [
    ["Attempt 1 began on w@a", FIRST],
    ["Attempt 1 lost its worker; queued again", LAPSED],
  ];
  assert.deepEqual(eventsOf(again).slice(2), lost);
  const running = { ...again, beginTime: SECOND };
  assert.deepEqual(eventsOf(running).slice(2), [...lost, ["Attempt 2 began", SECOND]]);
});
