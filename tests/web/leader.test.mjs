// Tests in Chromium with the real SDK that one tab renews the token for all tabs, and that another takes over.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";

import { openProfile, signInAs, startBrowser } from "./lib/browser.mjs";
import { startGateway } from "./lib/gateway.mjs";
import { servePages } from "./lib/pages.mjs";

const bounded = { timeout: 90_000 };
/** The gateway refreshes a token that is valid for less than five minutes, so each request gets a new token. */
const LIFETIME = 280;
/** When a page renews such a token, in milliseconds. */
const DUE = LIFETIME * 500;

let pages;
let gateway;
let browser;

before(async () => {
  pages = await servePages();
  gateway = await startGateway({ env: { FLEXGATE_ALLOWED_ORIGINS: pages.localhost } });
  browser = await startBrowser(gateway);
  await gateway.control("/__sim/switches", { sso_token_ttl_seconds: LIFETIME });
}, { timeout: 45_000 });
after(async () => {
  await browser?.close();
  await gateway?.stop();
  await pages?.stop();
});

/** Opens tabs in which the SDK's worker is connected and the token is kept fresh, on one mocked clock. */
async function openTabs(count, { before = () => {} } = {}) {
  const { context, page } = await openProfile(browser);
  await signInAs(page, gateway, "ada");
  await page.close();
  await context.addInitScript(before);
  await context.clock.install();
  const desk = { context, tabs: [], asks: [], tokens: [] };
  context.on("request", (request) => {
    if (request.url().endsWith("/sso/token")) desk.asks.push(desk.tabs.indexOf(request.frame().page()));
  });
  for (let tab = 0; tab < count; tab++) {
    await secondPasses();
    const opened = await context.newPage();
    desk.tabs.push(opened);
    await opened.goto(`${pages.localhost}/?gate=${encodeURIComponent(gateway.url)}`);
    await opened.addScriptTag({ url: "/sdk.js" });
    await opened.evaluate(async () => {
      const session = await window.flexgate.session();
      const client = await window.FlexSdk.createClient(session.access_token, { telemetryOptions: { disabled: true } });
      const worker = await client.getWorker();
      const keeper = window.flexgate.keepFresh(client, { from: session });
      const told = { renewed: [], troubles: 0, ended: [], elsewhere: 0 };
      keeper.on("renewed", ({ access_token }) => told.renewed.push(access_token));
      keeper.on("trouble", () => (told.troubles += 1));
      keeper.on("ended", ({ code }) => told.ended.push(code));
      keeper.on("signed_in_elsewhere", () => (told.elsewhere += 1));
      Object.assign(window, { desk: { client, worker, keeper, told } });
    });
  }
  // Every tab asked for a token of its own, and told the others.
  await allHave(desk, await desk.tabs.at(-1).evaluate(() => window.desk.keeper.session.access_token));
  desk.asks.length = 0;
  return desk;
}

/** Expiration times have whole seconds, and the next token must have a different one. */
const secondPasses = () => new Promise((resolve) => setTimeout(resolve, 1_100));

/** Waits until every tab's keeper, client and worker have this token, and no other. */
async function allHave(desk, token) {
  for (const tab of desk.tabs) {
    await tab.waitForFunction((token) => {
      const { client, worker, keeper } = window.desk;
      return [keeper.session.access_token, client.token, worker._config?.token ?? worker.config?.token].every((one) => one === token);
    }, token, { polling: 50, timeout: 15_000 });
  }
}

/** Advances the time of all tabs until one has asked the gateway. Returns the tab and its new token. */
async function untilRenewed(desk, by = () => true) {
  await secondPasses();
  const known = desk.asks.length;
  await desk.context.clock.fastForward(DUE - 5_000);
  for (let gone = 0; desk.asks.length === known && gone < 20_000; gone += 1_000) await desk.context.clock.runFor(1_000);
  assert.ok(desk.asks.length > known, "no tab asked");
  const tab = desk.tabs[desk.asks.at(-1)];
  assert.ok(by(tab));
  return tab;
}

test("five tabs renew once a period, and every tab's client and worker get each token", bounded, async () => {
  const desk = await openTabs(5);
  try {
    for (let period = 1; period <= 3; period++) {
      const old = await desk.tabs[0].evaluate(() => window.desk.client.token);
      const leader = await untilRenewed(desk);
      await leader.waitForFunction((old) => window.desk.keeper.session.access_token !== old, old, { polling: 50 });
      await allHave(desk, await leader.evaluate(() => window.desk.client.token));
      assert.equal(desk.asks.length, period, "one request a period");
      assert.equal(new Set(desk.asks).size, 1, "the same tab renews while it is open");
      await gateway.control("/__sim/tokens/revoke", { token: old });
    }
    for (const tab of desk.tabs) {
      const { told, activity } = await tab.evaluate(async () => {
        const { worker, told } = window.desk;
        const [other] = [...worker.activities.values()].filter(({ sid }) => sid !== worker.activity.sid);
        await other.setAsCurrent();
        return { told, activity: worker.activity.name === other.name };
      });
      assert.ok(activity, "the worker works with the new token");
      assert.ok(told.renewed.length >= 3);
      assert.deepEqual([told.troubles, told.ended], [0, []]);
    }
  } finally {
    await desk.context.close();
  }
});
