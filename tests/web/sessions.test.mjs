// Tests in Chromium what a page shows if its session ends because of a security event from the company's identity
// system, or because of a sign-in in another browser. Playwright mocks the page's clocks and timers.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

import { exportJWK, generateKeyPair, SignJWT } from "jose";

import { openProfile, signInAs, startBrowser } from "./lib/browser.mjs";
import { startGateway } from "./lib/gateway.mjs";

const bounded = { timeout: 90_000 };
const MINUTE = 60_000;
const AUDIENCE = "https://gate.example/webhooks/signals";
const SESSION_REVOKED = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
/** The message that Chromium itself writes to the console when the gateway refuses a token request. */
const REFUSED = /status of 401 .*\/sso\/token\)$/;
/** A page requests a token at least this often while somebody uses it. docs/front-end.md says so. */
const WHILE_WORKING = 4 * MINUTE;
/** An unused page requests a token 4.5 minutes before the old token expires. Tokens are valid for an hour. */
const WHILE_AWAY = 55.5 * MINUTE;

let transmitter;
let gateway;
let browser;

before(async () => {
  transmitter = await startTransmitter();
  const signals = { kind: "ssf", transmitter: transmitter.url, audience: AUDIENCE };
  gateway = await startGateway({ env: {
    FLEXGATE_WEBHOOKS: JSON.stringify({ standard: {}, signals }),
    FLEXGATE_SESSION_POLICIES: JSON.stringify({ default: { sessions_per_person: 1 } }),
  } });
  browser = await startBrowser(gateway);
}, { timeout: 60_000 });
after(async () => {
  await browser?.close();
  await gateway?.stop();
  await transmitter?.stop();
});

/** Starts an identity system that signs security events with the npm package `jose`. */
async function startTransmitter() {
  const { publicKey, privateKey } = await generateKeyPair("ES256");
  const keys = [{ ...(await exportJWK(publicKey)), kid: "k1", alg: "ES256", use: "sig" }];
  let url;
  const server = createServer((request, response) => {
    const page = { "/.well-known/ssf-configuration": { issuer: url, jwks_uri: `${url}/keys` }, "/keys": { keys } }[request.url];
    response.writeHead(page ? 200 : 404, { "content-type": "application/json" }).end(JSON.stringify(page ?? {}));
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${server.address().port}`;
  return {
    url,
    /** Delivers the event that says that all of this person's sessions have been revoked. */
    async revoke(person) {
      const claims = { sub_id: { format: "email", email: person }, events: { [SESSION_REVOKED]: {} } };
      const event = await new SignJWT(claims).setProtectedHeader({ alg: "ES256", kid: "k1", typ: "secevent+jwt" })
        .setIssuer(url).setAudience(AUDIENCE).setIssuedAt().setJti(crypto.randomUUID()).sign(privateKey);
      const headers = { "content-type": "application/secevent+jwt" };
      const response = await fetch(`${gateway.url}/webhooks/signals`, { method: "POST", headers, body: event });
      assert.equal(response.status, 202, await response.text());
    },
    stop: () => new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    }),
  };
}

/** Signs in as `person` in a new browser profile, and waits for the worker. Then the page's clocks stand still. */
async function openDesk(person) {
  const profile = await openProfile(browser, { expected: [REFUSED] });
  await profile.page.clock.install();
  await signInAs(profile.page, gateway, person);
  await activityIs(profile.page, "Offline");
  await profile.page.clock.pauseAt(await profile.page.evaluate(() => Date.now() + 1_000));
  return profile;
}

async function activityIs(page, name) {
  await page.locator(`#worker-state:text-is("${name}")`).waitFor();
}

const ended = (page, title) => page.getByRole("heading", { name: title, exact: true });
const isSignedIn = (page) => page.getByRole("heading", { name: "Ada Lovelace", level: 2 }).isVisible();

/** Requests a token with the page's cookie, without the page. Returns the status. */
async function statusOfToken({ context }) {
  const cookies = await context.cookies(gateway.url);
  const cookie = cookies.map(({ name, value }) => `${name}=${value}`).join("; ");
  const headers = { cookie, origin: gateway.url, "x-flexgate": "1" };
  return (await fetch(`${gateway.url}/sso/token`, { method: "POST", headers })).status;
}

/** Waits in real time until the condition is true. */
async function until(condition, what) {
  for (const limit = Date.now() + 10_000; !(await condition()); await new Promise((resolve) => setTimeout(resolve, 20))) {
    assert.ok(Date.now() < limit, what);
  }
}

/**
 * Waits for the next second. Times are whole seconds, and an event also ends sessions that began in the event's second.
 */
const secondPasses = () => new Promise((resolve) => setTimeout(resolve, 1_100));

/** Advances the page's time by this many milliseconds. The page requests a token at the end of that time, and not before. */
async function untilAsked(page, advance) {
  let asked = 0;
  const count = (request) => (asked += Number(request.url().endsWith("/sso/token")));
  page.on("request", count);
  await page.clock.fastForward(advance - 10_000);
  await page.clock.runFor(1_000);
  assert.equal(asked, 0, "the page asked too early");
  for (let gone = 0; !asked && gone < 30_000; gone += 500) await page.clock.runFor(500);
  assert.equal(asked, 1, "the page did not ask");
  page.off("request", count);
  // Wait for the gateway's answer. During this wait, the page's clock stands still.
  await page.evaluate(() => 0);
}

for (const [who, advance] of [["at work", WHILE_WORKING], ["away", WHILE_AWAY]]) {
  test(`a security event ends the session at once, and the page of somebody ${who} says so when it checks next`, bounded, async () => {
    const desk = await openDesk("ada");
    const { context, page, complaints } = desk;
    await becomeAvailable(page);
    // The page's next token request reports the click in `becomeAvailable`. After that, the page has nothing more to
    // report.
    await untilAsked(page, WHILE_WORKING);
    assert.equal(await statusOfToken(desk), 200);
    await secondPasses();
    await transmitter.revoke("ada");
    await until(async () => (await statusOfToken(desk)) === 401, "the session goes on");
    assert.ok(await isSignedIn(page), "the page does not know yet");
    if (who === "at work") await page.mouse.move(100, 100);
    await untilAsked(page, advance);
    await ended(page, "Your session has ended").waitFor();
    assert.equal(page.url(), `${gateway.url}/`, "the page does not sign in by itself");
    assert.equal(await isSignedIn(page), false);
    // The worker must be offline, so that TaskRouter gives no task to somebody whose session has ended.
    await until(() => isOffline("ada"), "the worker is available");

    await page.clock.resume();
    await secondPasses();
    await signInAs(page, gateway, "ada");
    assert.equal(await statusOfToken(desk), 200, "a new session begins");
    assert.deepEqual(complaints, []);
    await context.close();
  });
}

async function becomeAvailable(page) {
  await page.getByRole("button", { name: "Available", exact: true }).click();
  await activityIs(page, "Available");
  assert.equal(await isOffline("ada"), false);
}

async function isOffline(person) {
  const { users } = await gateway.control("/__sim/users");
  return /"activity":"Offline"/.test(JSON.stringify(users.find(({ username }) => username === person)));
}

test("of two browsers of one person, the older is told, and only the newer gets tokens", bounded, async () => {
  const desks = [await openDesk("ada")];
  for (let round = 0; round < 2; round++) {
    const older = desks.at(-1);
    const newer = await openDesk("ada");
    desks.push(newer);
    assert.deepEqual([await statusOfToken(older), await statusOfToken(newer)], [401, 200]);
    await older.page.mouse.move(100, 100);
    await untilAsked(older.page, WHILE_WORKING);
    await ended(older.page, "You are working on another device").waitFor();
    assert.equal(older.page.url(), `${gateway.url}/`, "the older page does not sign in by itself");
    await newer.page.mouse.move(100, 100);
    await untilAsked(newer.page, WHILE_WORKING);
    await newer.page.clock.runFor(1_000);
    assert.ok(await isSignedIn(newer.page), "the newer page goes on");
  }
  for (const { context, complaints } of desks) {
    assert.deepEqual(complaints, []);
    await context.close();
  }
});

test("closing the tab sets the worker offline", bounded, async () => {
  const { context, page, complaints } = await openDesk("ada");
  await becomeAvailable(page);
  await page.close();
  await until(() => isOffline("ada"), "the worker stays available");
  assert.deepEqual(complaints, []);
  await context.close();
});
