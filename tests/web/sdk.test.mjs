// Runs the unmodified @twilio/flex-sdk 3.0.0 in Node.js with tokens from Flexgate.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { createFlexgate } from "../../shared/web/dist/index.js";
import { ACCOUNT, repository, startGateway } from "./lib/gateway.mjs";
import { askSdk } from "./lib/sdk.mjs";
import { signIn } from "./lib/sign-in.mjs";

const bounded = { timeout: 40_000 };
let gateway;

before(async () => (gateway = await startGateway()), { timeout: 30_000 });
after(() => gateway?.stop());

/** Mints a token for ada through `POST /token`, with a token of the company's identity provider. */
async function mint() {
  const claims = {
    sub: "00u-ada-of-the-web-tests",
    preferred_username: "ada",
    email: "ada@example.com",
    email_verified: true,
    name: "Ada Lovelace",
    roles: ["agent"],
    scope: "flexgate.token",
  };
  const { token } = await gateway.control("/idp/__dev/token", claims);
  const response = await fetch(`${gateway.url}/token`, { method: "POST", headers: { authorization: `Bearer ${token}` } });
  const body = await response.json();
  assert.equal(response.status, 201, JSON.stringify(body));
  return body;
}

test("the SDK that is tested is the real one, at exactly 3.0.0", () => {
  const manifest = path.join(repository, "examples/agent-desktop/node_modules/@twilio/flex-sdk/package.json");
  assert.equal(JSON.parse(readFileSync(manifest, "utf8")).version, "3.0.0");
});

test("the SDK validates a token that Flexgate minted and says whose it is", bounded, async () => {
  const minted = await mint();
  const answer = await askSdk(gateway, { account: ACCOUNT, token: minted.access_token, want: "validate" });
  assert.equal(answer.ok, true, JSON.stringify(answer));
  const told = JSON.stringify(answer.validated);
  assert.ok(told.includes(minted.token_info.flex_user_sid), told);
});

test("the SDK reads the public configuration by the account and by the runtime domain", bounded, async () => {
  const answer = await askSdk(gateway, { account: ACCOUNT, domain: "https://simulated-1234.twil.io", want: "public" });
  assert.equal(answer.ok, true, JSON.stringify(answer));
  const expected = { accountSid: ACCOUNT, runtimeDomain: "https://simulated-1234.twil.io", publicAttributes: { loginPopup: false } };
  for (const config of answer.by) assert.deepEqual(config, expected);
});

test("a minted token makes a client and connects its worker", bounded, async () => {
  const minted = await mint();
  const answer = await askSdk(gateway, { account: ACCOUNT, token: minted.access_token, want: "worker" });
  assert.equal(answer.ok, true, JSON.stringify(answer));
  assert.equal(answer.holds_token, true);
  assert.deepEqual(answer.roles, ["agent"]);
  assert.match(answer.worker.sid, /^WK[0-9a-f]{32}$/);
  assert.equal(answer.worker.activity, "Offline");
});

test("the token of a sign-in makes a client and connects its worker, and a renewed one reaches all three", bounded, async () => {
  // The gateway refreshes a token that is valid for less than five minutes. These tokens are valid for 280 seconds, so
  // each request gets a new token.
  await gateway.control("/__sim/switches", { sso_token_ttl_seconds: 280 });
  const page = createFlexgate({ baseUrl: gateway.url, fetch: await signIn(gateway, "grace") });
  const session = await page.session();
  // Wait for more than a second, so that the new token expires later than the first one. If both expired in the same
  // second, the gateway would assume that the session cannot be extended.
  await sleep(1_100);
  const renewed = await page.session();
  await gateway.control("/__sim/switches", { sso_token_ttl_seconds: 3600 });
  assert.equal(session.username, "grace");
  assert.ok(renewed.access_token !== session.access_token, "the token was not refreshed");

  const question = { account: ACCOUNT, token: session.access_token, renewed: renewed.access_token, want: "worker" };
  const answer = await askSdk(gateway, question);
  assert.equal(answer.ok, true, JSON.stringify(answer));
  assert.deepEqual(answer.roles, session.roles);
  assert.equal(answer.worker.sid, session.worker_sid);
  assert.equal(answer.renewed.client, true);
  assert.deepEqual(answer.renewed.worker, { fresh: true, old: false });
  assert.deepEqual(answer.renewed.workspace, { fresh: true, old: false });
  assert.notEqual(answer.activity_after, answer.worker.activity);
});

test("after signing out there is no session, and the SDK has nothing to get", bounded, async () => {
  const page = createFlexgate({ baseUrl: gateway.url, fetch: await signIn(gateway, "ada") });
  assert.equal((await page.session()).username, "ada");
  await page.signOut();
  assert.equal(await page.session(), null);
});

test("the SDK refuses a token that is garbage", bounded, async () => {
  for (const want of ["validate", "worker"]) {
    const answer = await askSdk(gateway, { account: ACCOUNT, token: "garbage", want });
    assert.equal(answer.ok, false, JSON.stringify(answer));
    assert.ok(answer.error.code, JSON.stringify(answer));
  }
});

test("the SDK refuses a minted token of which one character was changed", bounded, async () => {
  const { access_token: token } = await mint();
  const parts = token.split(".");
  const middle = Math.floor(parts[3].length / 2);
  parts[3] = parts[3].slice(0, middle) + (parts[3][middle] === "A" ? "B" : "A") + parts[3].slice(middle + 1);
  for (const want of ["validate", "worker"]) {
    const answer = await askSdk(gateway, { account: ACCOUNT, token: parts.join("."), want });
    assert.equal(answer.ok, false, JSON.stringify(answer));
    assert.ok(answer.error.code, JSON.stringify(answer));
  }
});
