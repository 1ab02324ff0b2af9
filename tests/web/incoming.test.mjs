// Tests how examples/react handles tasks, in Chromium with the real SDK 3.0.0. For example, a call stays on hold while
// the token is renewed, and then goes on with the new token. docs/front-end.md says what these tests show.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";

import { openProfile, startBrowser, violations } from "./lib/browser.mjs";
import { startGateway } from "./lib/gateway.mjs";
import { serveReactDesktop } from "./lib/react-desktop.mjs";

const bounded = { timeout: 60_000 };
const CALLER = "+15550100";
const TTL = 280;

let desktop;
let gateway;
let browser;

before(async () => {
  desktop = await serveReactDesktop();
  gateway = await startGateway({ env: { FLEXGATE_ALLOWED_ORIGINS: desktop.url } });
  await desktop.bundle(gateway.url);
  browser = await startBrowser(gateway);
}, { timeout: 60_000 });
after(async () => {
  await browser?.close();
  await gateway?.stop();
  desktop?.stop();
});
afterEach(async () => {
  await gateway.control("/__sim/clock", { offset_seconds: 0 });
  await gateway.control("/__sim/switches", { sso_token_ttl_seconds: 3600 });
});

const named = (place, name) => place.getByRole("button", { name, exact: true });
const item = (page, name) => page.getByRole("article", { name, exact: true });
const stateIs = (item, state) => item.locator(`strong:text-is("${state}")`).waitFor();

/** Signs in on a page whose clock the test can move, makes the worker available, and calls `work` with the tokens. */
async function onDesk(username, work) {
  const { context, page, complaints } = await openProfile(browser, { expected: [/status of 401 .*\/sso\/token\)$/] });
  const tokens = [];
  page.on("response", (response) => {
    // Ignore an error of `json()`, because the body cannot be read after the test has ended.
    if (!response.url().endsWith("/sso/token") || !response.ok()) return;
    response.json().then((body) => tokens.push(body.access_token), () => {});
  });
  try {
    await page.clock.install();
    await page.goto(desktop.url);
    await named(page, "Sign in").click();
    await page.locator(`button[value="${username}"]`).click();
    await named(page, "Available").click();
    await page.locator('strong:text-is("Available")').waitFor();
    await work({ page, tokens });
    assert.deepEqual(complaints, []);
  } finally {
    await context.close();
  }
}

/** Offers a task. Returns `look`, which gets the task's status and the holds from the simulator. */
async function offer(body) {
  const { sid } = await gateway.control("/__sim/tasks", body);
  const look = async () => {
    const { tasks } = await gateway.control("/__sim/tasks");
    const task = tasks.find((task) => task.sid === sid);
    const holds = task.participants.map(({ type, media_properties }) => `${type} ${media_properties.hold[0]}`);
    return { status: task.reservation_status, holds };
  };
  return { look };
}

/** Offers ada a call, and accepts and holds it on the page. */
async function heldCall(page) {
  const { look } = await offer({ username: "ada", attributes: { from: CALLER } });
  const call = item(page, `Call from ${CALLER}`);
  await stateIs(call, "incoming");
  await named(call, "Accept").click();
  await stateIs(call, "yours");
  await named(call, "Hold").click();
  await stateIs(call, "on hold");
  assert.deepEqual(await look(), { status: "accepted", holds: ["customer true", "agent false"] });
  return { call, look };
}

/** The requests about workers and tasks since the journal was emptied: their path at TaskRouter, and their token. */
async function workerRequests() {
  const { requests } = await gateway.control("/__sim/requests?service=event-bridge");
  return requests.filter(({ method }) => method === "POST").map(({ body }) => JSON.parse(body));
}

test("a call stays on hold while the token is renewed, and goes on with the new token", bounded, async () => {
  // The gateway refreshes a token that expires in less than five minutes. The tokens in this test are valid for less
  // time than that, so each request gets a new token.
  await gateway.control("/__sim/switches", { sso_token_ttl_seconds: TTL });
  await onDesk("ada", async ({ page, tokens }) => {
    const { call, look } = await heldCall(page);
    const old = tokens.at(-1);

    // Half of the token's lifetime passes, so the page renews the token. During this time, the SDK receives no message
    // on its websocket, so it also reconnects.
    await gateway.control("/__sim/clock", { offset_seconds: TTL / 2 });
    const connectedAgain = page.waitForResponse((response) => response.request().postData()?.includes("/Reservations"));
    await page.clock.fastForward((TTL / 2 + 10) * 1_000);
    for (const until = Date.now() + 15_000; tokens.at(-1) === old; ) {
      assert.ok(Date.now() < until, "the page did not renew by itself");
      await page.clock.runFor(500);
    }
    await (await connectedAgain).finished();
    // Move Twilio's clock past the expiration of the old token.
    await gateway.control("/__sim/clock", { offset_seconds: TTL + 20 });
    const renewed = tokens.at(-1);
    await gateway.control("/__sim/requests", undefined, "DELETE");
    assert.deepEqual(await look(), { status: "accepted", holds: ["customer true", "agent false"] });
    await stateIs(call, "on hold");

    await named(call, "Resume").click();
    await stateIs(call, "yours");
    assert.deepEqual(await look(), { status: "accepted", holds: ["customer false", "agent false"] });
    await named(call, "Hang up").click();
    await stateIs(call, "wrap-up");
    await named(call, "Complete").click();
    await page.getByText("No work for you now.").waitFor();
    assert.equal((await look()).status, "completed");

    const requests = await workerRequests();
    const urls = requests.map(({ url }) => url.split("/").at(-1));
    for (const url of ["Channels", "Participants", "CustomerParticipant"]) assert.ok(urls.includes(url), `${urls}`);
    assert.deepEqual([...new Set(requests.map(({ token }) => token))], [renewed], "a request had another token");
  });
});

test("after a reload, a call that is on hold is still on hold and can be resumed", bounded, async () => {
  await onDesk("ada", async ({ page }) => {
    const { call, look } = await heldCall(page);
    await page.reload();
    await stateIs(call, "on hold");
    await named(call, "Resume").click();
    await stateIs(call, "yours");
    assert.deepEqual(await look(), { status: "accepted", holds: ["customer false", "agent false"] });
    await named(call, "Hang up").click();
    await named(call, "Complete").click();
    await page.getByText("No work for you now.").waitFor();
  });
});

test("an incoming task is announced, has no axe violation, and can be rejected or completed", bounded, async () => {
  await onDesk("grace", async ({ page }) => {
    await page.setViewportSize({ width: 320, height: 700 });
    const rejected = await offer({ username: "grace", channel: "default", attributes: { name: "Order 7" } });
    const task = item(page, "Task from Order 7");
    await stateIs(task, "incoming");
    await page.getByRole("status").filter({ hasText: "Tasks: 1" }).waitFor();
    assert.deepEqual(await violations(page), []);
    await named(task, "Reject").click();
    await task.waitFor({ state: "detached" });
    assert.equal((await rejected.look()).status, "rejected");

    const accepted = await offer({ username: "grace", channel: "default", attributes: { name: "Order 7" } });
    await named(task, "Accept").click();
    await stateIs(task, "yours");
    assert.equal(await named(task, "Hold").count(), 0, "only calls can be held");
    await named(task, "Complete").click();
    await task.waitFor({ state: "detached" });
    assert.equal((await accepted.look()).status, "completed");
  });
});
