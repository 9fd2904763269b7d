// What people do at the operators' page. Each gets a visitor and what its test prepared.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";

const VIEWS = ["Overview", "Calls", "Queues and workers", "Methods"];
const idOf = (name) => name.split("/").slice(1).join("/");
const link = (view, values) => `#/${view}?${new URLSearchParams(values)}`;

const filterField = (page, label) =>
  page.locator(".filters label").filter({ hasText: new RegExp(`^\\s*${label}`) }).locator("input, select");

/** Each view, by the navigation; what it has to show; nothing serious for axe. */
export async function views(visitor, { call, method, queue, worker, scheme, width, failures }) {
  const page = await visitor.open("", { scheme, width, failures });
  await visitor.sees("Calls a second", "figcaption");
  for (const view of VIEWS) {
    await page.getByRole("link", { name: view, exact: true }).click();
    await page.getByRole("heading", { level: 1, name: view }).waitFor();
    const shown = { Calls: idOf(call), "Queues and workers": worker, Methods: queue }[view];
    if (shown) await visitor.row(shown).first().waitFor();
    await visitor.isAccessible();
    await visitor.fits();
  }
  await visitor.go(link("call", { name: call }));
  await visitor.sees("Ended: SUCCEEDED", ".timeline");
  await visitor.sees("No more items", "main");
  await visitor.isAccessible();
  await visitor.fits();
  await visitor.go(link("method", { name: method }));
  await page.getByRole("button", { name: "Call", exact: true }).waitFor();
  await visitor.isAccessible();
  await visitor.fits();
}

/** The last hour in figures; what is wrong, on a page whose gateway has methods without workers. */
export async function overview(visitor, { tiles }) {
  const page = await visitor.open("");
  const shown = () =>
    page
      .locator(".tiles > div")
      .evaluateAll((all) => all.map((one) => [...one.children].map((part) => part.textContent)));
  await page.locator(".tiles > div").first().waitFor();
  await page.waitForFunction(
    ([name, value]) =>
      [...document.querySelectorAll(".tiles > div")].some(
        (one) => one.firstChild.textContent === name && one.lastChild.textContent === value,
      ),
    tiles.at(-1),
  );
  const found = await shown();
  assert.deepEqual(
    found.map(([name]) => name),
    tiles.map(([name]) => name),
  );
  for (const [index, [name, value]] of found.entries()) {
    assert.match(value, new RegExp(`^${tiles[index][1]}$`), name);
  }
}

/** Each problem has what it is about, what is wrong, and how to fix it. */
export async function problems(visitor, { subject, description, fix }) {
  const page = await visitor.open("");
  const problem = page.locator(".problems li").filter({ hasText: subject });
  assert.equal(await problem.locator("b").innerText(), subject);
  assert.match(await problem.innerText(), new RegExp(description));
  assert.match(await problem.locator(".fix").innerText(), new RegExp(`^Fix: ${fix}`));
}

/** Rows of tables: what each column has. `rows` is of the view, table, text and patterns. */
export async function rows(visitor, { rows }) {
  const page = await visitor.open("");
  for (const [view, table, text, patterns] of rows) {
    await page.getByRole("link", { name: view, exact: true }).click();
    const region = page.getByRole("region", { name: table, exact: true });
    const row = region.locator("tbody tr").filter({ hasText: text }).first();
    await row.waitFor();
    const heads = await region.locator("th").allTextContents();
    for (const [head, pattern] of Object.entries(patterns)) {
      const cell = row.locator("td").nth(heads.indexOf(head));
      await cell.filter({ hasText: new RegExp(`^\\s*${pattern}\\s*$`) }).waitFor();
    }
  }
}

/** Filters by each field; then back to all. None of the calls is left by a value of `none`. */
export async function filters(visitor, { call, other, values, none = {} }) {
  const page = await visitor.open("#/calls");
  await visitor.row(idOf(call)).waitFor();
  for (const [label, value] of Object.entries(values)) {
    const field = filterField(page, label);
    if (label === "State") await field.selectOption(value);
    else await field.fill(value);
    await page.getByRole("button", { name: "Filter", exact: true }).click();
    await visitor.gone(visitor.row(idOf(other)));
    await visitor.row(idOf(call)).waitFor();
    await page.getByRole("link", { name: "Clear" }).click();
    await visitor.row(idOf(other)).waitFor();
  }
  for (const [label, value] of Object.entries(none)) {
    await filterField(page, label).fill(value);
    await page.getByRole("button", { name: "Filter", exact: true }).click();
    await visitor.sees("no calls", "td");
    await page.getByRole("link", { name: "Clear" }).click();
    await visitor.row(idOf(call)).waitFor();
  }
}

/** Cancels one call from its own view, several from the list; deletes them; no row is stale. */
export async function actions(visitor, { running }) {
  const [single, ...several] = running;
  const page = await visitor.open(link("call", { name: single }));
  await visitor.sees("RUNNING", ".facts");
  await page.getByRole("button", { name: "Cancel", exact: true }).click();
  await visitor.sees(`Cancel call ${idOf(single)}?`, "dialog");
  await page.getByRole("button", { name: "Keep" }).click();
  assert.equal(await page.locator("dialog[open]").count(), 0);
  await page.getByRole("button", { name: "Cancel", exact: true }).click();
  await page.getByRole("button", { name: "Cancel 1" }).click();
  await visitor.sees("Ended: CANCELLED", ".timeline");

  await page.getByRole("link", { name: "Calls", exact: true }).click();
  const choose = async (names) => {
    for (const name of names) await page.getByLabel(`Select ${idOf(name)}`).check();
  };
  await choose(running);
  await visitor.sees(`${running.length} calls selected`, ".toolbar");
  await page.getByRole("button", { name: `Cancel ${several.length}` }).click();
  await visitor.sees(`Cancel ${several.length} calls? 1 selected call is left as it is.`, "dialog");
  await page.locator("dialog").getByRole("button", { name: `Cancel ${several.length}` }).click();
  await visitor.sees(`${several.length} calls cancelled`, "[role=status]");
  for (const name of several) assert.match(await visitor.row(idOf(name)).innerText(), /CANCELLED/);

  await choose(running);
  await page.getByRole("button", { name: `Delete ${running.length}` }).click();
  await page.locator("dialog").getByRole("button", { name: `Delete ${running.length}` }).click();
  await visitor.sees(`${running.length} calls deleted`, "[role=status]");
  for (const name of running) assert.equal(await visitor.row(idOf(name)).count(), 0);
}

/** A call that runs: its items appear as they come. */
export async function followed(visitor, { call, gate }) {
  const page = await visitor.open(link("call", { name: call }));
  await visitor.sees('"text": "item"', ".items");
  assert.equal(await page.locator(".items li").count(), 1);
  await visitor.sees("Waiting for items");
  writeFileSync(gate, "");
  await visitor.sees('"index": 2', ".items");
  await visitor.sees("Ended: SUCCEEDED", ".timeline");
}

/** Fills a form, calls, reads the answers, and the same in snippets. */
export async function explorer(visitor, { unary, stream, failing }) {
  const page = await visitor.open(link("method", { name: unary.method }), { failures: [404, 400] });
  for (const [label, value] of Object.entries(unary.fields)) {
    await page.getByLabel(label, { exact: true }).fill(value);
  }
  await page.getByRole("button", { name: "Call", exact: true }).click();
  await visitor.sees(unary.answer, ".items");
  const snippets = await page.locator(".snippet pre").allInnerTexts();

  await visitor.go(link("method", { name: stream.method }));
  await page.getByLabel("edit as JSON").check();
  await page.getByLabel("Request in JSON").fill(JSON.stringify(stream.request));
  await page.getByRole("button", { name: "Call", exact: true }).click();
  await visitor.sees(`The call has ended after ${stream.count} answers.`);
  await visitor.sees(stream.answer, ".items li:last-child");

  await page.getByLabel("Request in JSON").fill(JSON.stringify(failing.request));
  await page.getByRole("button", { name: "Call", exact: true }).click();
  await visitor.sees(failing.code, ".failure");
  await visitor.sees(failing.message, ".failure");
  await page.locator("section[aria-label=Answers] a.id").click();
  await visitor.sees("Ended: FAILED", ".timeline");
  return snippets;
}

/** Texts that callers control are shown as they are, on each view; none becomes part of the page. */
export async function hostile(
  visitor,
  { text, call, failed, running, worker, method, request },
) {
  const page = await visitor.open("", { failures: [400, 501] });
  const harmless = async () => {
    assert.equal(await page.evaluate(() => globalThis.hacked), undefined);
    assert.equal(await page.locator("main :is(img, script, iframe, svg, b[onclick])").count(), 0);
  };
  await visitor.sees(text, "td");
  await harmless();
  await page.getByRole("link", { name: "Calls", exact: true }).click();
  await visitor.row(idOf(failed)).filter({ hasText: text }).waitFor();
  await harmless();
  await visitor.go(link("calls", { queue: text, worker: text, reason: text, id: text, method: text }));
  await visitor.sees("no calls", "td");
  assert.equal(await filterField(page, "Queue").inputValue(), text);
  await harmless();
  await visitor.go(link("call", { name: failed }));
  await visitor.sees(text, ".failure");
  await harmless();
  await visitor.go(link("call", { name: call }));
  await visitor.sees(JSON.stringify(text).slice(1, -1), ".items");
  await harmless();
  await visitor.go(link("call", { name: running }));
  await visitor.sees(text, "dd");
  await harmless();
  await visitor.go(link("call", { name: text }));
  await visitor.sees(text, "h1");
  await visitor.sees("invalid_argument", ".failure");
  await harmless();
  await page.getByRole("link", { name: "Queues and workers" }).click();
  await visitor.row(worker).first().waitFor();
  await harmless();
  await visitor.go(link("method", { name: text }));
  await visitor.sees(text, "main > p");
  await visitor.sees("unimplemented", ".failure");
  await harmless();
  await visitor.go(link("method", { name: method }));
  await page.getByLabel("edit as JSON").check();
  await page.getByLabel("Request in JSON").fill(JSON.stringify(request));
  await page.getByRole("button", { name: "Call", exact: true }).click();
  await visitor.sees(JSON.stringify(text).slice(1, -1), ".items");
  await harmless();
}

/** Everything without a mouse: navigation, list, selection, dialog, filter, pages of many calls. */
export async function keyboard(visitor, { running }) {
  const page = await visitor.open("");
  const press = (key) => page.keyboard.press(key);
  const focused = () =>
    page.evaluate(() => {
      const { ariaLabel, labels, textContent, tagName } = document.activeElement;
      return `${tagName} ${ariaLabel ?? (labels?.[0] ?? { textContent }).textContent.trim()}`;
    });
  const tabTo = async (wanted, most = 60) => {
    for (let tabs = 0; tabs < most; tabs += 1) {
      await press("Tab");
      if ((await focused()) === wanted) return;
    }
    assert.fail(`no ${wanted} within ${most} tabs; the last was ${await focused()}`);
  };
  await press("Tab");
  assert.equal(await focused(), "A Skip to the content");
  await press("Enter");
  assert.equal(await focused(), "H1 Overview");
  await page.reload();
  await page.locator("h1").waitFor();
  await tabTo("A Calls");
  await press("Enter");
  await visitor.row(idOf(running)).waitFor();
  assert.equal(await focused(), "H1 Calls");
  await tabTo(`INPUT Select ${idOf(running)}`, 80);
  await press("Space");
  await visitor.sees("1 call selected", ".toolbar");
  await page.keyboard.down("Shift");
  await tabTo("BUTTON Cancel 1", 80);
  await page.keyboard.up("Shift");
  await press("Enter");
  await visitor.sees("Cancel call", "dialog");
  await visitor.isAccessible();
  await press("Escape");
  await page.locator("dialog[open]").waitFor({ state: "detached" });
  assert.equal(await focused(), "BUTTON Cancel 1");
  await press("Enter");
  await tabTo("BUTTON Cancel 1", 4);
  await press("Enter");
  await visitor.sees("1 call cancelled", "[role=status]");
  assert.match(await visitor.row(idOf(running)).innerText(), /CANCELLED/);

  await page.reload();
  await visitor.row(idOf(running)).waitFor();
  await tabTo("INPUT Id contains");
  await page.keyboard.type(idOf(running));
  await press("Enter");
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 1);
  await tabTo(`INPUT Select ${idOf(running)}`);
  await press("Space");
  await page.keyboard.down("Shift");
  await tabTo("BUTTON Delete 1");
  await page.keyboard.up("Shift");
  await press("Enter");
  await visitor.sees("Delete call", "dialog");
  await tabTo("BUTTON Delete 1", 4);
  await press("Enter");
  await visitor.sees("1 call deleted", "[role=status]");
  await visitor.gone(visitor.row(idOf(running)));

  await page.reload();
  await tabTo("A Clear");
  await press("Enter");
  await page.locator("tbody a.id").nth(49).waitFor();
  for (const [button, number, isBack] of [
    ["Older", 2, false],
    ["Newer", 1, true],
    ["Older", 2, false],
    ["Newest", 1, true],
  ]) {
    const enabled = page.getByRole("button", { name: button }).and(page.locator(":enabled"));
    await enabled.waitFor();
    if (isBack) await page.keyboard.down("Shift");
    await tabTo(`BUTTON ${button}`, 200);
    if (isBack) await page.keyboard.up("Shift");
    await press("Enter");
    await visitor.sees(`Page ${number}`, ".paging");
  }
}

/** How long the list takes until its rows are there, and what a page further takes. */
export async function manyCalls(visitor, { count }) {
  const page = await visitor.open("#/methods");
  const shown = async (action) => {
    const started = performance.now();
    await action();
    await page.locator("tbody tr a.id").nth(49).waitFor();
    return performance.now() - started;
  };
  await page.locator("tbody tr").first().waitFor();
  const open = await shown(() => page.getByRole("link", { name: "Calls", exact: true }).click());
  const first = await page.locator("tbody a.id").first().innerText();
  const older = await shown(async () => {
    await page.getByRole("button", { name: "Older" }).click();
    await page.waitForFunction((id) => document.querySelector("tbody a.id")?.innerText !== id, first);
  });
  // Of all calls, the page holds one page.
  assert.ok((await page.locator("tbody tr").count()) <= 50, `of ${count}`);
  return { open, older };
}

/**
 * How smooth the list is while somebody scrolls, types, selects and turns pages, and the list is
 * read again every 2 s: the intervals between frames, and the longest tasks of the page's thread
 * in milliseconds of CPU, which other processes don't lengthen. A task of 50 ms or more is one that
 * people notice (https://w3c.github.io/longtasks/).
 */
export async function smoothList(visitor, { seconds }) {
  const page = await visitor.open("#/calls");
  await page.locator("tbody tr a.id").nth(49).waitFor();
  const read = await readsOf(page);
  const frames = await framesOf(page);
  await visitor.browser.startTracing(page, { categories: ["toplevel"] });
  const until = performance.now() + seconds * 1000;
  for (let down = 1; performance.now() < until; down = -down) {
    for (let step = 0; step < 20; step += 1) await page.mouse.wheel(0, down * 60);
    await page.getByLabel("Id contains").pressSequentially("abc");
    await page.getByLabel("Id contains").fill("");
    await page.getByLabel("Select all calls of this page").click();
    await page.getByLabel("Select all calls of this page").click();
    for (const [button, number] of [["Older", 2], ["Newer", 1]]) {
      await page.getByRole("button", { name: button }).click();
      await visitor.sees(`Page ${number}`, ".paging");
    }
  }
  const trace = JSON.parse(await visitor.browser.stopTracing());
  assert.ok(read.count >= seconds / 4, `the list was read ${read.count} times`);
  return { frames: await frames(), tasks: longestTasks(trace.traceEvents) };
}

/** The CPU of the ten longest tasks of pages' main threads, in milliseconds; longest first. */
function longestTasks(events) {
  const isMain = (event) => event.name === "thread_name" && event.args.name === "CrRendererMain";
  const threads = new Set(events.filter(isMain).map(({ pid, tid }) => `${pid} ${tid}`));
  const tasks = events.filter(({ pid, tid, tdur }) => tdur && threads.has(`${pid} ${tid}`));
  return tasks.map(({ tdur }) => tdur / 1000).sort((one, other) => other - one).slice(0, 10);
}

/** Counts frames from now on; what it returns returns the milliseconds between them. */
async function framesOf(page) {
  await page.evaluate(() => {
    window.frameTimes = [];
    const frame = (now) => {
      window.frameTimes.push(now);
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
  return async () => {
    const times = await page.evaluate(() => window.frameTimes);
    return times.slice(1).map((time, at) => time - times[at]);
  };
}

/** Counts how often the list is read from now on. */
async function readsOf(page) {
  const read = { count: 0 };
  page.on("response", (response) => {
    if (response.url().endsWith("/ListOperations")) read.count += 1;
  });
  return read;
}

/** A page that is read-only offers nothing that changes something. */
export async function readOnly(visitor, { call, method }) {
  const page = await visitor.open("#/calls");
  await visitor.row(idOf(call)).waitFor();
  await visitor.sees("read-only", "header");
  assert.equal(await page.getByRole("checkbox").count(), 0);
  await visitor.go(link("call", { name: call }));
  await visitor.sees("Record");
  assert.equal(await page.getByRole("button", { name: /Cancel|Delete/ }).count(), 0);
  await visitor.go(link("method", { name: method }));
  await visitor.sees("This page is read-only");
}

/** Without a token nothing is shown; with one, what its roles permit; it is kept nowhere. */
export async function identity(visitor, { tokens, calls }) {
  const page = await visitor.open("#/calls", { failures: [401, 403] });
  await visitor.sees("unauthenticated", ".failure");
  const give = async (token) => {
    await page.getByLabel("Token").fill(token);
    await page.getByRole("button", { name: "Use" }).click();
    await page.getByRole("button", { name: "Forget token" }).waitFor();
  };
  await give(tokens.acme);
  await visitor.row(idOf(calls.acme)).waitFor();
  assert.equal(await visitor.row(idOf(calls.umbrella)).count(), 0);
  assert.equal(await page.getByRole("button", { name: /^Cancel/ }).count(), 1);
  assert.equal(await filterField(page, "Tenant").count(), 0);
  const stored = await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]);
  assert.deepEqual(stored, [0, 0, ""]);

  await page.getByRole("button", { name: "Forget token" }).click();
  await give(tokens.operator);
  await visitor.row(idOf(calls.umbrella)).waitFor();
  await visitor.row(idOf(calls.acme)).waitFor();
  await filterField(page, "Tenant").fill("umbrella");
  await page.getByRole("button", { name: "Filter", exact: true }).click();
  await visitor.gone(visitor.row(idOf(calls.acme)));

  await page.getByRole("button", { name: "Forget token" }).click();
  await give(tokens.viewer);
  await visitor.sees("permission_denied", ".failure");
  assert.equal(await page.getByRole("button", { name: /^(Cancel|Delete)/ }).count(), 0);
  await page.getByRole("link", { name: "Queues and workers" }).click();
  await visitor.row("echo").first().waitFor();

  await page.reload();
  await visitor.sees("unauthenticated", ".failure");
}

/** A picture of each view, for the documentation. */
export async function pictures(visitor, { folder, scheme, call, method, fields, views }) {
  const page = await visitor.open("", { scheme, width: 1100, height: 760 });
  const take = (name) => page.screenshot({ path: `${folder}/operators-page-${name}-${scheme}.png` });
  await visitor.sees("Calls a second", "figcaption");
  await page.waitForTimeout(1500); // the charts are drawn, and the latest figures are in
  await take("overview");
  for (const [name, hash, text] of views) {
    await visitor.go(hash);
    await visitor.row(text).first().waitFor();
    await take(name);
  }
  await visitor.go(link("call", { name: call }));
  await visitor.sees("No more items");
  await take("call");
  await visitor.go(link("method", { name: method }));
  for (const [label, value] of Object.entries(fields)) {
    await page.getByLabel(label, { exact: true }).fill(value);
  }
  await page.getByRole("button", { name: "Call", exact: true }).click();
  await visitor.sees("The call has ended", "[aria-label=Answers]");
  await take("method");
}

/** The example's page: both computations, a reload in the middle of one, and a cancellation. */
export async function example(visitor, { gateway, n, digits, large, scheme, picture }) {
  const others = [new URL(gateway).host];
  const page = await visitor.open(`?gateway=${gateway}`, { others, scheme, width: 700 });
  const factorial = page.locator("#factorial");
  const compute = async (value) => {
    await factorial.getByLabel("n").fill(String(value));
    await factorial.getByRole("button", { name: "Compute" }).click();
  };
  await compute(n);
  await visitor.sees(`${digits.length} digits`, "#factorial");
  assert.equal(await factorial.locator("output").innerText(), digits);

  const product = page.locator("#product");
  await product.getByRole("button", { name: "Compute" }).click();
  await visitor.sees("60 × 60 entries", "#product");
  assert.equal(await product.locator("canvas").evaluate((canvas) => canvas.width), 60);
  await visitor.isAccessible();
  await visitor.fits();
  if (picture) writeFileSync(picture, await page.screenshot());

  await compute(large);
  await visitor.sees("Computing", "#factorial");
  const id = await page.evaluate(() => sessionStorage.getItem("call of Factorial"));
  await page.reload();
  await visitor.sees(" digits", "#factorial");

  await compute(large);
  await visitor.sees("Computing", "#factorial");
  await factorial.getByRole("button", { name: "Cancel" }).click();
  await factorial.getByRole("status").filter({ hasText: /cancel/i }).waitFor();
  return id;
}
