// Runs scenarios in one Chromium: reads a line of JSON for each, and prints a line with its result.
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";
import * as scenarios from "./scenarios.mjs";
import { Visitor } from "./visitor.mjs";

const browser = await chromium.launch({
  executablePath: process.argv[2],
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});

for await (const line of createInterface({ input: process.stdin })) {
  const { scenario, base, args } = JSON.parse(line);
  const visitor = new Visitor(browser, base);
  let answer;
  try {
    const result = await scenarios[scenario](visitor, args);
    await visitor.check();
    answer = { result: result ?? null };
  } catch (error) {
    answer = { error: `${error.stack}\n${await visitor.seen()}` };
  } finally {
    await visitor.close();
  }
  console.log(JSON.stringify(answer));
}
await browser.close();
