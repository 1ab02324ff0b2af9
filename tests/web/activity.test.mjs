// Tests when the package keeps a session from becoming idle (case R9 of the attack register). It must do so only while
// somebody uses the page.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { createFlexgate } from "../../shared/web/dist/index.js";
import { HOUR, keep, MINUTE, mockComputer, mockGateway, mockPage, problem, token } from "./lib/keeper.mjs";

const bounded = { timeout: 20_000 };
/** The gateway's shortest idle limit (`SHORTEST_IDLE` in functions/sso/src/settings.rs). */
const SHORTEST_IDLE = 10 * MINUTE;

let computer;
let page;

beforeEach(() => {
  computer = mockComputer();
  page = mockPage();
});
afterEach(() => {
  page.close();
  computer.restore();
});

/** Starts a signed-in page. The token is valid for `lifetime`. If nobody uses the session for `idle`, it ends. */
async function signedIn({ lifetime = HOUR, idle = SHORTEST_IDLE, ...options } = {}) {
  const gateway = mockGateway(computer.now, { lifetime, idle });
  const gate = createFlexgate({ baseUrl: "https://gate.example", fetch: async () => gateway.answer() });
  const from = await gate.session();
  return { gateway, ...keep([gateway.answer], { from, ...options }) };
}

/** Fails if the session has ended. */
const stillSignedIn = async (keeper) => assert.ok(await keeper.renew());
const press = () => page.window.dispatchEvent(new Event("keydown"));

for (const every of [1_000, 30_000, 3 * MINUTE, 5 * MINUTE, 8 * MINUTE]) {
  test(`R9 an agent who does something every ${every / 1_000} s is never thrown out`, bounded, async () => {
    const { keeper, told } = await signedIn();
    for (let gone = 0; gone < 3 * HOUR; gone += every) {
      press();
      await computer.pass(every);
    }
    assert.ok(told.asked.length <= 1 + 3 * HOUR / (4 * MINUTE), `${told.asked.length} requests in three hours`);
    await stillSignedIn(keeper);
    assert.deepEqual(told.ends, []);
    keeper.stop();
  });
}

test("R9 a token for eight hours does not make the session idle either", bounded, async () => {
  const { keeper, told } = await signedIn({ lifetime: 8 * HOUR });
  for (let gone = 0; gone < 3 * HOUR; gone += MINUTE) {
    press();
    await computer.pass(MINUTE);
  }
  await stillSignedIn(keeper);
  assert.deepEqual(told.ends, []);
  assert.deepEqual(told.renewed, [], "the token stays the same, so nobody gets a new one");
  keeper.stop();
});

for (const event of ["keydown", "pointerdown", "pointermove", "wheel"]) {
  test(`R9 ${event} counts as work`, bounded, async () => {
    const { keeper, told } = await signedIn();
    await computer.pass(5 * MINUTE);
    assert.equal(told.asked.length, 0);
    page.window.dispatchEvent(new Event(event));
    await computer.pass(6_000);
    assert.equal(told.asked.length, 1);
    keeper.stop();
  });
}

test("R9 an agent in a long call, with hands off the keyboard, is not thrown out", bounded, async () => {
  let inCall = true;
  const { keeper, told } = await signedIn({ isActive: () => inCall });
  await computer.pass(50 * MINUTE);
  await stillSignedIn(keeper);
  assert.deepEqual(told.ends, []);
  inCall = false;
  const asked = told.asked.length;
  await computer.pass(4 * MINUTE);
  assert.equal(told.asked.length, asked, "no request without work");
  keeper.stop();
});

test("R9 a person who left the desk is signed out at the next renewal", bounded, async () => {
  const { keeper, told } = await signedIn();
  await computer.pass(50 * MINUTE);
  assert.equal(told.asked.length, 0);
  await computer.pass(6 * MINUTE);
  assert.deepEqual(told.ends.map((error) => error.code), ["reauthenticate"]);
  keeper.stop();
});

test("R9 an open page alone keeps a session whose idle limit is longer than a token's life", bounded, async () => {
  const { keeper, told } = await signedIn({ idle: 2 * HOUR });
  await computer.pass(8 * HOUR);
  assert.deepEqual(told.ends, []);
  assert.ok(told.asked.length <= 9, `${told.asked.length} requests`);
  keeper.stop();
});

test("R9 an outage of three minutes costs an active agent nothing, and no message", bounded, async () => {
  const { gateway, keeper, told } = await signedIn();
  for (let minute = 0; minute < 40; minute++) {
    gateway.away = minute % 10 >= 7;
    press();
    await computer.pass(MINUTE);
  }
  gateway.away = false;
  await stillSignedIn(keeper);
  assert.deepEqual(told.ends, []);
  assert.deepEqual(told.troubles, []);
  keeper.stop();
});

test("R9 work does not shorten the wait that the gateway asked for", bounded, async () => {
  let busy = false;
  const refusal = () => problem(503, "unavailable", { "retry-after": "300" });
  const first = token("first", HOUR);
  const { keeper, told } = keep([() => (busy ? refusal() : first)], { from: first, isActive: () => true });
  busy = true;
  await computer.pass(4 * MINUTE + 6_000);
  assert.equal(told.asked.length, 1);
  busy = false;
  await computer.pass(290_000);
  assert.equal(told.asked.length, 1, "asked before Retry-After");
  await computer.pass(16_000);
  assert.equal(told.asked.length, 2);
  keeper.stop();
});

test("R9 a hook that throws delays no renewal", bounded, async () => {
  const isActive = () => {
    throw new Error("the hook is broken");
  };
  const { gateway, keeper } = await signedIn({ idle: 2 * HOUR, isActive });
  let thrown = 0;
  for (let gone = 0; gone < 2 * HOUR; gone += 1_000) {
    // The mocked timer rethrows exceptions. A browser would write them to the console.
    await computer.pass(1_000).catch(() => (thrown += 1));
    assert.ok(gateway.expiresAt > computer.now.truth);
  }
  assert.ok(thrown > 0);
  keeper.stop();
});

test("R9 after stop nobody's work is noticed", bounded, async () => {
  const { keeper, told } = await signedIn();
  keeper.stop();
  await computer.pass(5 * MINUTE);
  press();
  await computer.pass(MINUTE);
  assert.equal(told.asked.length, 0);
});
