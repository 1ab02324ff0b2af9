// Tests in Chromium with the real SDK that one tab renews the token for all tabs, and that another tab takes over if
// the first one closes or hangs.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { openProfile, signInAs, startBrowser } from "./lib/browser.mjs";
import { startGateway } from "./lib/gateway.mjs";
import { servePages } from "./lib/pages.mjs";

const bounded = { timeout: 240_000 };
/** The longest wait for a condition, in milliseconds. */
const PATIENCE = 60_000;
/**
 * The lifetime of tokens, in seconds. The gateway refreshes a token that is valid for less than five minutes, so each
 * request gets a new token.
 */
const LIFETIME = 280;
/** How long a page waits before it renews a token with this lifetime, in milliseconds. */
const DUE = LIFETIME * 500;

let pages;
let gateway;
let browser;

before(async () => {
  pages = await servePages();
  gateway = await startGateway({ env: { FLEXGATE_ALLOWED_ORIGINS: pages.localhost } });
  browser = await startBrowser(gateway);
  await gateway.control("/__sim/switches", { sso_token_ttl_seconds: LIFETIME });
}, { timeout: 120_000 });
after(async () => {
  await browser?.close();
  await gateway?.stop();
  await pages?.stop();
});

/** Counts token requests as soon as the page makes them. A later count could let the mocked time advance too far. */
function countAsks() {
  const { fetch } = window;
  window.asks = 0;
  window.fetch = (url, init) => {
    window.asks += Number(String(url).endsWith("/sso/token"));
    return fetch(url, init);
  };
}

/** Opens tabs in which the SDK's worker is connected and the token is kept fresh, on one mocked clock. */
async function openTabs(count, { locks = true } = {}) {
  const { context, page } = await openProfile(browser);
  await signInAs(page, gateway, "ada");
  await page.close();
  await context.addInitScript(countAsks);
  if (!locks) await context.addInitScript(() => Object.defineProperty(Navigator.prototype, "locks", { value: undefined }));
  await context.clock.install();
  const desk = { context, tabs: [] };
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
      window.asks = 0;
      Object.assign(window, { desk: { client, worker, keeper, told } });
    });
  }
  // Each tab requested a token when it opened, and sent the token to the other tabs. So all tabs must have the newest
  // token.
  if (locks) await allHave(desk, await tokenOf(desk.tabs.at(-1)));
  // From now on, only the tests advance the tabs' clocks. With real clocks, the tabs on a busy machine would reach
  // their time limits for waiting.
  await context.clock.pauseAt(await desk.tabs[0].evaluate(() => Date.now() + 1_000));
  return desk;
}

/** Waits for more than a second. Expiration times are whole seconds, and the next token's must differ. */
const secondPasses = () => new Promise((resolve) => setTimeout(resolve, 1_100));
const tokenOf = (tab) => tab.evaluate(() => window.desk.keeper.session.access_token);
const asksOf = (desk) => Promise.all(desk.tabs.map((tab) => tab.evaluate(() => window.asks)));
const sum = (counts) => counts.reduce((total, count) => total + count, 0);

async function hasOther(tab, old) {
  await tab.waitForFunction((old) => window.desk.client.token !== old, old, { polling: 50, timeout: PATIENCE });
}

/** Waits until every tab's keeper, client and worker have this token, and no other. */
async function allHave(desk, token) {
  for (const tab of desk.tabs) {
    await tab.waitForFunction((token) => {
      const { client, worker, keeper } = window.desk;
      return [keeper.session.access_token, client.token, worker._config.token].every((one) => one === token);
    }, token, { polling: 50, timeout: PATIENCE });
  }
}

/**
 * Advances the time of all tabs until the token must be renewed and one tab has requested a new token. Returns that
 * tab.
 */
async function untilAsked(desk) {
  await secondPasses();
  const known = await asksOf(desk);
  await desk.context.clock.fastForward(DUE - 5_000);
  return whoAsks(desk, known);
}

/** Advances the time of all tabs until a tab has sent more requests than `known` says. Returns this tab. */
async function whoAsks(desk, known) {
  for (let gone = 0; gone < 30; gone++) {
    const asker = (await asksOf(desk)).findIndex((count, tab) => count > known[tab]);
    if (asker >= 0) return desk.tabs[asker];
    await desk.context.clock.runFor(500);
  }
  return assert.fail("no tab asked");
}

/** Makes the next token request hang, but answers later ones. Returns the tab that has sent the hanging request. */
async function hangs(desk) {
  let hold;
  const held = new Promise((resolve) => (hold = resolve));
  let isHeld = false;
  // Keep this route until the test ends. If the test removed the route, the browser would send the held request.
  await desk.context.route("**/sso/token", (route) => {
    if (isHeld) return route.continue();
    isHeld = true;
    return hold();
  });
  const leader = await untilAsked(desk);
  await held;
  return leader;
}

test("five tabs renew once a period, and every tab's client and worker get each token", bounded, async () => {
  const desk = await openTabs(5);
  try {
    for (let period = 1; period <= 3; period++) {
      const old = await tokenOf(desk.tabs[0]);
      const leader = await untilAsked(desk);
      await hasOther(leader, old);
      await allHave(desk, await tokenOf(leader));
      const asks = await asksOf(desk);
      assert.equal(sum(asks), period, "one request a period");
      assert.equal(Math.max(...asks), period, "the same tab renews while it is open");
      await gateway.control("/__sim/tokens/revoke", { token: old });
    }
    await desk.context.clock.resume();
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

test("a tab that is killed in the middle of a renewal is replaced at once, and every other tab gets the token", bounded, async () => {
  const desk = await openTabs(4);
  try {
    const old = await tokenOf(desk.tabs[0]);
    const leader = await hangs(desk);
    const crashed = leader.waitForEvent("crash");
    const devtools = await desk.context.newCDPSession(leader);
    devtools.send("Page.crash").catch(() => {});
    await crashed;
    desk.tabs = desk.tabs.filter((tab) => tab !== leader);
    await leader.close();
    const asker = await whoAsks(desk, desk.tabs.map(() => 0));
    await hasOther(asker, old);
    await allHave(desk, await tokenOf(asker));
    assert.equal(sum(await asksOf(desk)), 1, "one of the others asked");
  } finally {
    await desk.context.close();
  }
});

test("a renewing tab that hangs is not waited for", bounded, async () => {
  const desk = await openTabs(3);
  try {
    const old = await tokenOf(desk.tabs[0]);
    const leader = await hangs(desk);
    await desk.context.clock.runFor(10_000);
    // Even the tab whose request hangs gets the new token.
    for (const tab of desk.tabs) await hasOther(tab, old);
    const others = desk.tabs.filter((tab) => tab !== leader);
    const asks = await Promise.all(others.map((tab) => tab.evaluate(() => window.asks)));
    assert.ok(sum(asks) >= 1, "another tab asked");
  } finally {
    await desk.context.close();
  }
});

test("without Web Locks each tab renews for itself", bounded, async () => {
  const desk = await openTabs(2, { locks: false });
  try {
    const old = await Promise.all(desk.tabs.map(tokenOf));
    await untilAsked(desk);
    await desk.context.clock.runFor(5_000);
    for (const [place, tab] of desk.tabs.entries()) await hasOther(tab, old[place]);
    assert.deepEqual(await asksOf(desk), [1, 1]);
  } finally {
    await desk.context.close();
  }
});

test("signed_in_elsewhere reaches every tab once, and ends all keepers", bounded, async () => {
  const desk = await openTabs(3);
  try {
    const body = { code: "signed_in_elsewhere", title: "You signed in on another device", status: 401, request_id: "0".repeat(32) };
    const headers = { "access-control-allow-origin": pages.localhost, "access-control-allow-credentials": "true" };
    await desk.context.route("**/sso/token", (route) => route.fulfill({ status: 401, headers, json: body }));
    await untilAsked(desk);
    for (const tab of desk.tabs) await tab.waitForFunction(() => window.desk.told.ended.length > 0, null, { polling: 50, timeout: PATIENCE });
    await desk.context.clock.runFor(60_000);
    for (const tab of desk.tabs) {
      const { ended, elsewhere, troubles } = await tab.evaluate(() => window.desk.told);
      assert.deepEqual({ ended, elsewhere, troubles }, { ended: ["signed_in_elsewhere"], elsewhere: 1, troubles: 0 });
    }
    // Another tab may get the lock before it learns that the session has ended. In that case, it requests a token once.
    for (const asks of await asksOf(desk)) assert.ok(asks <= 1, `a tab that has ended asked ${asks} times`);
  } finally {
    await desk.context.close();
  }
});

test("signing out in one tab ends the others, and so does somebody else's sign-in", bounded, async () => {
  const desk = await openTabs(2);
  try {
    await desk.tabs[0].evaluate(() => window.flexgate.signOut());
    for (const tab of desk.tabs) {
      await tab.waitForFunction(() => window.desk.told.ended.join() === "signed_out", null, { polling: 50, timeout: PATIENCE });
    }
  } finally {
    await desk.context.close();
  }
  const mixed = await openTabs(1);
  try {
    const other = await mixed.context.newPage();
    await other.goto(`${gateway.url}/sso/default/login?return_to=${encodeURIComponent(`${pages.localhost}/?gate=${gateway.url}`)}`);
    await other.locator('button[value="linus"]').click();
    await other.waitForFunction(() => window.flexgate);
    await other.evaluate(async () => window.flexgate.keepFresh(null, { from: await window.flexgate.session() }));
    await mixed.tabs[0].waitForFunction(() => window.desk.told.ended.join() === "another_user", null, { polling: 50, timeout: PATIENCE });
  } finally {
    await mixed.context.close();
  }
});
