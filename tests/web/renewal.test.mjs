// Tests at what times the agent desktop requests its token: after sleep or a change of the clock (case R8 of the attack
// register), and while somebody uses the desktop (R9). The tests run in Chromium, and Playwright mocks the page's
// clocks and timers.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { openProfile, signInAs, startBrowser } from "./lib/browser.mjs";
import { startGateway } from "./lib/gateway.mjs";

const bounded = { timeout: 60_000 };
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** The message that Chromium itself writes to the console while nobody is signed in. */
const NOBODY_YET = /status of 401 .*\/sso\/token\)$/;

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

/**
 * Signs in as `username` on a page with mocked clocks, and waits for the worker. Calls `work` with the page, the number
 * of later token requests (`asked`), and all `tokens`. Fails if the browser reports an error or a warning.
 */
async function onDesk(username, work) {
  const { context, page, complaints } = await openProfile(browser, { expected: [NOBODY_YET] });
  const desk = { page, asked: 0, answered: 0, tokens: [] };
  const asks = (request) => request.url().endsWith("/sso/token");
  page.on("request", (request) => (desk.asked += Number(asks(request))));
  page.on("requestfinished", (request) => (desk.answered += Number(asks(request))));
  page.on("response", (response) => {
    // Ignore failures, because the body cannot be read after the test has ended.
    if (asks(response) && response.ok()) response.json().then((body) => desk.tokens.push(body.access_token), () => {});
  });
  try {
    await page.clock.install();
    await signInAs(page, gateway, username);
    await activityIs(page, "Offline");
    desk.asked = desk.answered = 0;
    await work(desk);
    assert.deepEqual(complaints, []);
  } finally {
    await context.close();
  }
}

async function activityIs(page, name) {
  await page.locator(`#worker-state:text-is("${name}")`).waitFor();
}

/** Advances the page's time, by at most half a minute, until the page has sent `count` token requests. */
async function untilAsked(desk, count) {
  for (let gone = 0; desk.asked < count && gone < 30_000; gone += 500) await desk.page.clock.runFor(500);
  assert.equal(desk.asked, count, "the page did not ask, or asked too often");
  await answered(desk);
}

/**
 * Waits in real time for the answers to the page's requests. If the page's time advanced, the requests would time out.
 */
async function answered(desk) {
  await until(() => desk.answered === desk.asked, "the gateway did not answer");
  await desk.page.evaluate(() => 0);
}

/** Waits in real time until the condition is true. */
async function until(condition, what) {
  for (const limit = Date.now() + 10_000; !condition(); await new Promise((resolve) => setTimeout(resolve, 20))) {
    assert.ok(Date.now() < limit, what);
  }
}

/** Changes the page's wall clock, but not its steady clock. */
async function moveClock(page, milliseconds) {
  const now = await page.evaluate(() => Date.now());
  await page.clock.setSystemTime(now + milliseconds);
  assert.ok(Math.abs(await page.evaluate(() => Date.now()) - now - milliseconds) < MINUTE);
}

test("R8 a clock that is set back two hours delays no renewal in Chromium, and the worker goes on", bounded, async () => {
  // The gateway refreshes a token that expires in less than five minutes. These tokens are valid for 280 seconds. So
  // each request gets a new token, and the page renews after 140 seconds.
  await gateway.control("/__sim/switches", { sso_token_ttl_seconds: 280 });
  try {
    await onDesk("ada", async (desk) => {
      const { page, tokens } = desk;
      const first = tokens.length;
      await moveClock(page, -2 * HOUR);
      for (const [turn, name] of ["Available", "Break", "Offline"].entries()) {
        // Wait for more than a second, so that the new token expires at another time than the old one. Tokens expire at
        // whole seconds.
        await new Promise((resolve) => setTimeout(resolve, 1_100));
        await page.clock.fastForward(130_000);
        await untilAsked(desk, turn + 1);
        await until(() => tokens.length === first + turn + 1, "the gateway gave no token");
        await page.clock.runFor(1_000);
        for (const token of tokens.slice(0, -1)) await gateway.control("/__sim/tokens/revoke", { token });
        await page.getByRole("button", { name, exact: true }).click();
        await activityIs(page, name);
        assert.match(await page.locator("#time-left").textContent(), /^4 min \d+ s$/);
      }
    });
  } finally {
    await gateway.control("/__sim/switches", { sso_token_ttl_seconds: 3600 });
  }
});

for (const [name, event, target] of [
  ["only has its timers", null, null],
  ["becomes visible", "visibilitychange", "document"],
  ["is online again", "online", "window"],
]) {
  test(`R8 after three hours of sleep, a page that ${name} asks for a token at once`, bounded, async () => {
    await onDesk("grace", async (desk) => {
      const { page } = desk;
      await page.clock.runFor(10_000);
      assert.equal(desk.asked, 0);
      // On macOS and Linux, the steady clock stops during sleep.
      await moveClock(page, 3 * HOUR);
      if (event) await page.evaluate(([name, target]) => globalThis[target].dispatchEvent(new Event(name)), [event, target]);
      else await page.clock.runFor(5_000);
      await until(() => desk.asked === 1, "the page did not ask");
      await answered(desk);
      await page.clock.runFor(10_000);
      assert.equal(desk.asked, 1, "once is enough");
    });
  });
}

test("R9 in Chromium, the page reports each kind of work, and nothing while nobody works", bounded, async () => {
  await onDesk("ada", async (desk) => {
    const { page } = desk;
    const inputs = [
      () => page.mouse.move(200, 200),
      () => page.mouse.down(),
      () => page.keyboard.press("Shift"),
      () => page.mouse.wheel(0, 50),
    ];
    for (const [turn, input] of inputs.entries()) {
      await page.clock.runFor(5 * MINUTE);
      assert.equal(desk.asked, turn, `a report although nobody worked, before ${input}`);
      await input();
      await untilAsked(desk, turn + 1);
    }
  });
});

test("R9 in Chromium, an agent whom new work can reach counts as active", bounded, async () => {
  await onDesk("linus", async (desk) => {
    const { page } = desk;
    for (const [name, reports] of [["Available", 1], ["Break", 0], ["Available", 1]]) {
      await page.getByRole("button", { name, exact: true }).click();
      await activityIs(page, name);
      // The click counts as activity. The token request after the click reports this activity.
      await page.getByRole("button", { name: "Renew now" }).click();
      await page.locator("#announce:text-is('Your sign-in was renewed.')").waitFor({ state: "attached" });
      await answered(desk);
      const asked = desk.asked;
      await page.clock.fastForward(5 * MINUTE);
      await untilAsked(desk, asked + reports);
      await page.clock.runFor(6_000);
      assert.equal(desk.asked, asked + reports, name);
    }
  });
});
