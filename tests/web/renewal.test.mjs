// Tests in Chromium when the agent desktop asks for its token: after the computer's clock is set or the computer has
// slept (R8), and while somebody works (R9). Playwright's clock replaces the page's clocks and timers.

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
 * Signs in as `username` on a page with mocked clocks, waits for the worker, and runs `work` with the desk: its `page`,
 * how often the page has `asked` for a token since then, and all `tokens` that it got. Fails if the browser complained
 * about anything.
 */
async function onDesk(username, work) {
  const { context, page, complaints } = await openProfile(browser, { expected: [NOBODY_YET] });
  const desk = { page, asked: 0, answered: 0, tokens: [] };
  const asks = (request) => request.url().endsWith("/sso/token");
  page.on("request", (request) => (desk.asked += Number(asks(request))));
  page.on("requestfinished", (request) => (desk.answered += Number(asks(request))));
  page.on("response", (response) => {
    // The body cannot be read any more if the test has ended.
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

/** Lets the page's time go on by half a minute at most, until the page has asked `count` times. */
async function untilAsked(desk, count) {
  for (let gone = 0; desk.asked < count && gone < 30_000; gone += 500) await desk.page.clock.runFor(500);
  assert.equal(desk.asked, count, "the page did not ask, or asked too often");
  await answered(desk);
}

/** Waits in real time until the page has its answers. If the page's time went on meanwhile, its requests would time
 * out. */
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

/** Moves the wall clock of the page. Its steady clock and its timers notice nothing. */
async function moveClock(page, milliseconds) {
  const now = await page.evaluate(() => Date.now());
  await page.clock.setSystemTime(now + milliseconds);
  assert.ok(Math.abs(await page.evaluate(() => Date.now()) - now - milliseconds) < MINUTE);
}

test("R8 a clock that is set back two hours delays no renewal in Chromium, and the worker goes on", bounded, async () => {
  // The gateway refreshes a token that is valid for less than five more minutes. Here, tokens are valid for 280
  // seconds. So each request gets a new token, and the page renews after 140 seconds.
  await gateway.control("/__sim/switches", { sso_token_ttl_seconds: 280 });
  try {
    await onDesk("ada", async (desk) => {
      const { page, tokens } = desk;
      const first = tokens.length;
      await moveClock(page, -2 * HOUR);
      for (const [turn, name] of ["Available", "Break", "Offline"].entries()) {
        // Expiration times are in whole seconds. Wait for over a second, so that the new token expires at a different
        // time.
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
      // On macOS and Linux, the steady clock stops while the computer sleeps.
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
      // The clicks themselves are work. "Renew now" reports them.
      await page.getByRole("button", { name: "Renew now" }).click();
      await page.locator("#announce:text-is('Your token was renewed.')").waitFor({ state: "attached" });
      await answered(desk);
      const asked = desk.asked;
      await page.clock.fastForward(5 * MINUTE);
      await untilAsked(desk, asked + reports);
      await page.clock.runFor(6_000);
      assert.equal(desk.asked, asked + reports, name);
    }
  });
});
