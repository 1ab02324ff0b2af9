// Tests the package @flexgate/web on a computer that sleeps, or whose clock is wrong or changes (case R8 of the
// attack register).

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { createFlexgate, timeLeft } from "../../shared/web/dist/index.js";
import { HOUR, keep, MINUTE, mockComputer, mockGateway, mockPage, settle, token } from "./lib/keeper.mjs";

const bounded = { timeout: 20_000 };
/** How long a page may have an expired token after the computer wakes up, in milliseconds. */
const GRACE = 6_000;

let computer;

beforeEach(() => (computer = mockComputer()));
afterEach(() => computer.restore());

/** Starts a signed-in page. The token is valid for an hour. */
async function signedIn(options = {}) {
  const gateway = mockGateway(computer.now);
  const gate = createFlexgate({ baseUrl: "https://gate.example", fetch: async () => gateway.answer() });
  const from = await gate.session();
  return { gateway, from, ...keep([gateway.answer], { from, ...options }) };
}

test("R8 a clock that is set back two hours delays no renewal", bounded, async () => {
  const { gateway, keeper, told } = await signedIn();
  await computer.pass(10 * MINUTE);
  computer.moveClock(-2 * HOUR);
  await computer.pass(46 * MINUTE);
  assert.equal(gateway.refreshes, 2, "one for the session, and one after 55 minutes");
  assert.deepEqual(told.renewed, ["token-2"]);
  keeper.stop();
});

test("R8 a clock that is set back delays no retry", bounded, async () => {
  const { gateway, keeper, told } = await signedIn();
  gateway.away = true;
  await computer.pass(57 * MINUTE);
  assert.ok(told.troubles.length > 0);
  computer.moveClock(-2 * HOUR);
  gateway.away = false;
  await computer.pass(MINUTE);
  assert.deepEqual(told.renewed, ["token-2"]);
  keeper.stop();
});

const day = [
  ["a clock that is set back two hours", [() => computer.moveClock(-2 * HOUR)]],
  ["a clock that is set back a year", [() => computer.moveClock(-365 * 24 * HOUR)]],
  ["a clock that is set forward two hours", [() => computer.moveClock(2 * HOUR)]],
  ["a clock that is set back and forward again", [() => computer.moveClock(-3 * HOUR), () => computer.moveClock(3 * HOUR)]],
  ["a clock that is set back again and again", Array.from({ length: 8 }, () => () => computer.moveClock(-HOUR))],
  ["a sleep of 90 minutes that stops the steady clock", [() => computer.sleep(90 * MINUTE)]],
  ["a sleep of 90 minutes that the steady clock counts", [() => computer.sleep(90 * MINUTE, { steady: true })]],
  ["a sleep of an hour during which the clock is set back two", [
    () => {
      computer.sleep(HOUR);
      computer.moveClock(-2 * HOUR);
    },
  ]],
  ["the same, with a steady clock that counts sleep", [
    () => {
      computer.sleep(HOUR, { steady: true });
      computer.moveClock(-2 * HOUR);
    },
  ]],
  ["many short naps", Array.from({ length: 100 }, () => () => computer.sleep(20_000))],
];
for (const [name, events] of day) {
  test(`R8 the token never expires in the page's hands: ${name}`, bounded, async () => {
    const { gateway, keeper, told } = await signedIn();
    let wokeAt = computer.now.truth;
    const check = () => {
      const { truth } = computer.now;
      if (truth - wokeAt >= GRACE) assert.ok(gateway.expiresAt > truth, `expired ${(truth - gateway.expiresAt) / 1_000} s ago`);
      if (truth < gateway.expiresAt) {
        const error = timeLeft(keeper.session) - (gateway.expiresAt - truth);
        if (truth - wokeAt >= GRACE) assert.ok(Math.abs(error) < GRACE, `timeLeft is ${error} ms wrong`);
      }
    };
    for (const event of [() => {}, ...events]) {
      event();
      wokeAt = computer.now.truth;
      await computer.pass(events.length > 10 ? 50_000 : 20 * MINUTE, check);
    }
    await computer.pass(3 * HOUR, check);
    assert.deepEqual(told.ends, []);
    assert.ok(told.asked.length <= 5 + 2 * events.length, `${told.asked.length} requests`);
    keeper.stop();
  });
}

for (const [name, error] of [["two hours behind", -2 * HOUR], ["two hours ahead", 2 * HOUR], ["an hour ahead", HOUR]]) {
  test(`R8 on a computer whose clock was always ${name}, the token is renewed on time`, bounded, async () => {
    computer.moveClock(error);
    const { gateway, keeper, told } = await signedIn();
    await computer.pass(3 * HOUR, () => assert.ok(gateway.expiresAt > computer.now.truth));
    assert.ok(told.asked.length <= 4, `${told.asked.length} requests`);
    assert.ok(Math.abs(timeLeft(keeper.session) - (gateway.expiresAt - computer.now.truth)) < 5_000);
    keeper.stop();
  });
}

for (const [name, target, event] of [
  ["becomes visible", "document", "visibilitychange"],
  ["is online again", "window", "online"],
  ["comes back out of the browser's page cache", "window", "pageshow"],
]) {
  test(`R8 after sleep, a page that ${name} renews at once`, bounded, async (context) => {
    const page = mockPage();
    context.after(() => page.close());
    const { gateway, keeper, told } = await signedIn();
    await computer.pass(MINUTE);
    computer.sleep(90 * MINUTE);
    page[target].dispatchEvent(new Event(event));
    await settle();
    assert.deepEqual(told.renewed, ["token-2"]);
    assert.ok(gateway.expiresAt > computer.now.truth);
    keeper.stop();
    computer.sleep(90 * MINUTE);
    page[target].dispatchEvent(new Event(event));
    await settle();
    assert.equal(told.asked.length, 1, "asked after stop");
  });
}

test("R8 a computer that wakes up before its network does renews as soon as the network is there", bounded, async (context) => {
  const page = mockPage();
  context.after(() => page.close());
  const { gateway, keeper, told } = await signedIn();
  computer.sleep(90 * MINUTE);
  gateway.away = true;
  await computer.pass(20_000);
  gateway.away = false;
  page.window.dispatchEvent(new Event("online"));
  await computer.pass(6_000);
  assert.deepEqual(told.renewed, ["token-2"]);
  keeper.stop();
});

test("a wake-up without network while the token is still good is not reported as trouble", bounded, async () => {
  const { gateway, keeper, told } = await signedIn();
  computer.sleep(20 * MINUTE);
  gateway.away = true;
  await computer.pass(20_000);
  gateway.away = false;
  await computer.pass(MINUTE);
  assert.ok(told.asked.length >= 2, `${told.asked.length} requests`);
  assert.deepEqual(told.troubles, []);
  keeper.stop();
});

for (const steady of [false, true]) {
  test(`R8 after sleep, timeLeft says that the token has expired, with a steady clock that ${steady ? "counts sleep" : "stops"}`, bounded, async () => {
    const { from, keeper } = await signedIn();
    computer.sleep(90 * MINUTE, { steady });
    assert.equal(timeLeft(from), -30 * MINUTE);
    keeper.stop();
  });
}

test("R8 a session from another page counts by the computer's clock and its offset", bounded, async () => {
  const { from, keeper } = await signedIn();
  const copy = { ...from };
  computer.moveClock(-2 * HOUR);
  assert.ok(Math.abs(timeLeft(from) - HOUR) < 1_000);
  assert.equal(timeLeft(copy), 3 * HOUR, "a copy has no steady clock");
  assert.ok(Math.abs(timeLeft(token("from elsewhere", HOUR)) - HOUR) < 1_000);
  const behind = { ...token("from elsewhere", HOUR), clock_offset: 10 * MINUTE };
  assert.ok(Math.abs(timeLeft(behind) - 50 * MINUTE) < 1_000);
  keeper.stop();
});
