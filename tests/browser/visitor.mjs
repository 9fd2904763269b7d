// A person at the page: one tab, and what must not happen in it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const TIMEOUT_MS = 20_000;

export class Visitor {
  problems = [];
  page = undefined;

  constructor(browser, base) {
    this.browser = browser;
    this.base = base;
  }

  /**
   * Opens a tab. `failures`: statuses of HTTP that the scenario provokes, which Chromium reports.
   * `others`: hosts beside the page's own that it may call.
   */
  async open(
    hash = "",
    { width = 1280, height = 900, scheme = "light", failures = [], others = [] } = {},
  ) {
    const hosts = [new URL(this.base).host, ...others];
    const context = await this.browser.newContext({
      ...{ viewport: { width, height }, colorScheme: scheme, reducedMotion: "reduce" },
      ...{ permissions: [], timezoneId: "UTC", locale: "en-GB" },
    });
    // What leaves for another host fails here, whether there is a network or not.
    await context.route("**/*", (route) => {
      const url = new URL(route.request().url());
      if (hosts.includes(url.host)) return route.continue();
      this.problems.push(`request to another host: ${url}`);
      return route.abort();
    });
    this.page = await context.newPage();
    this.page.setDefaultTimeout(TIMEOUT_MS);
    this.page.on("pageerror", (error) => this.problems.push(`error: ${error.stack}`));
    this.page.on("dialog", (dialog) => {
      this.problems.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    this.page.on("console", (message) => {
      if (!["error", "warning"].includes(message.type())) return;
      if (failures.some((status) => message.text().includes(`status of ${status}`))) return;
      this.problems.push(`console: ${message.text()} (${message.location().url})`);
    });
    await this.page.goto(`${this.base}/${hash}`);
    await this.page.locator("h1").waitFor();
    return this.page;
  }

  async go(hash) {
    await this.page.evaluate((to) => (location.hash = to), hash);
  }

  /** Waits for the text of a locator; a regular expression or a text. */
  async sees(text, where = "main") {
    await this.page.locator(where).filter({ hasText: text }).first().waitFor();
  }

  row(text) {
    return this.page.locator("tbody tr").filter({ hasText: text });
  }

  async gone(locator) {
    await locator.waitFor({ state: "detached" });
  }

  /** Serious and critical findings of axe; none are allowed. The policy of the page does not apply to it. */
  async isAccessible() {
    const session = await this.page.context().newCDPSession(this.page);
    await session.send("Runtime.evaluate", { expression: AXE });
    const { result } = await session.send("Runtime.evaluate", {
      expression: `axe.run().then(({ violations }) => JSON.stringify(violations
        .filter((one) => ["serious", "critical"].includes(one.impact))
        .map((one) => [one.id, one.help, one.nodes.map((node) => node.html).slice(0, 3)])))`,
      awaitPromise: true,
    });
    assert.deepEqual(JSON.parse(result.value), [], this.page.url());
  }

  async fits() {
    const { wide, shown } = await this.page.evaluate(() => ({
      wide: document.documentElement.scrollWidth,
      shown: innerWidth,
    }));
    assert.ok(wide <= shown, `${this.page.url()} is ${wide} wide`);
  }

  async check() {
    assert.deepEqual(this.problems, []);
  }

  async seen() {
    const text = await this.page?.locator("body").innerText().catch(() => "");
    return [`at ${this.page?.url()}:`, text, ...this.problems].join("\n");
  }

  async close() {
    await this.page?.context().close();
  }
}
