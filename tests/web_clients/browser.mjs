// Opens a page in Chromium and makes its calls; prints a line of JSON for each kind of them.
// node browser.mjs CHROMIUM PAGE GATEWAY FOREIGN_PAGE
import { chromium } from 'playwright-core'

const [executablePath, page, gateway, foreignPage] = process.argv.slice(2)
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
const say = (step, value) => console.log(JSON.stringify({ step, value }))
try {
  for (const kind of ['json', 'get', 'binary', 'grpcWeb']) {
    const tab = await browser.newPage()
    const errors = []
    tab.on('pageerror', (error) => errors.push(String(error)))
    await tab.goto(page)
    const said = await tab.evaluate(([url, kind]) => window.makeCalls(url, kind), [gateway, kind])
    say(kind, { ...said, errors })
    say(`${kind} closed`, await tab.evaluate(([url, kind]) => window.beginLongCall(url, kind), [gateway, kind]))
    await tab.close()
  }
  const foreign = await browser.newPage()
  await foreign.goto(foreignPage)
  say('foreign', await foreign.evaluate((url) => window.tryToCall(url), gateway))
} finally {
  await browser.close()
}
