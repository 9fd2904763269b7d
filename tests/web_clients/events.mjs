// Follows a call in Chromium by its own EventSource; prints what the page saw, as JSON.
// node events.mjs CHROMIUM PAGE URL KILL_AFTER: prints "seen" after so many items, and goes on.
import { chromium } from 'playwright-core'

const [executablePath, page, url, killAfter] = process.argv.slice(2)
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
try {
  const tab = await browser.newPage()
  await tab.exposeFunction('seen', () => console.log('seen'))
  await tab.goto(page)
  const said = await tab.evaluate(([url, killAfter]) => new Promise((resolve) => {
    const said = { items: [], ids: [], named: [], breaks: 0 }
    const events = new EventSource(url)
    events.onmessage = ({ data, lastEventId }) => {
      if ('transient' in JSON.parse(data)) return
      said.items.push(JSON.parse(data))
      said.ids.push(lastEventId)
      if (said.items.length === killAfter) window.seen()
    }
    for (const name of ['start', 'retry', 'end']) events.addEventListener(name, () => said.named.push(name))
    events.onerror = ({ data }) => {
      said.breaks += 1
      // The page does not close it: after the end, the gateway tells it to stop.
      if (events.readyState === EventSource.CLOSED) resolve(said)
    }
  }), [url, Number(killAfter)])
  console.log(JSON.stringify(said))
} finally {
  await browser.close()
}
