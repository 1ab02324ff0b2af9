// Tests how much the browser transfers until the agent desktop is shown. The SDK comes later, and is not counted.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { openProfile, signInAs, startBrowser } from "./lib/browser.mjs";
import { startGateway } from "./lib/gateway.mjs";

const MOST = 100_000;

let gateway;
let browser;

before(async () => {
  gateway = await startGateway();
  browser = await startBrowser(gateway);
}, { timeout: 45_000 });
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

/** Counts the bytes of each answer, with its headers, as they come over the network. */
async function count(context, page) {
  const devtools = await context.newCDPSession(page);
  await devtools.send("Network.enable");
  await devtools.send("Network.setCacheDisabled", { cacheDisabled: true });
  const urls = new Map();
  const bytes = new Map();
  devtools.on("Network.requestWillBeSent", ({ requestId, request }) => urls.set(requestId, request.url));
  devtools.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => bytes.set(urls.get(requestId), encodedDataLength));
  return bytes;
}

for (const [who, enter] of [
  ["signed out", async (page) => page.getByRole("button", { name: "Sign in" }).waitFor()],
  ["signed in", async (page) => page.locator('#username:text-is("ada")').waitFor({ state: "attached" })],
]) {
  test(`the first paint of the desktop, ${who}, takes less than ${MOST / 1000} KB without the SDK`, { timeout: 45_000 }, async (t) => {
    const { context, page } = await openProfile(browser);
    try {
      if (who === "signed in") await signInAs(page, gateway, "ada");
      const bytes = await count(context, page);
      await page.goto(gateway.url);
      await enter(page);
      const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
      assert.ok(paint > 0, "nothing is painted");
      const own = [...bytes].filter(([url]) => url.startsWith(gateway.url) && !url.includes("/sdk/"));
      const total = own.reduce((sum, [, length]) => sum + length, 0);
      t.diagnostic(`${total} bytes in ${own.length} answers; first contentful paint after ${Math.round(paint)} ms`);
      assert.ok(own.length >= 7, `only ${own.map(([url]) => url)}`);
      assert.ok(total < MOST, `${total} bytes: ${JSON.stringify(own)}`);
      const strangers = [...bytes.keys()].filter((url) => /^https?:/.test(url) && !url.startsWith(gateway.url));
      if (who === "signed out") assert.deepEqual(strangers, [], "the page needs nobody else");
    } finally {
      await context.close();
    }
  });
}
