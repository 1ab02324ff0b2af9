// Tests that security events and Universal Logout requests end a person's sessions. The npm package `jose` signs them.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { exportJWK, generateKeyPair, SignJWT } from "jose";

import { start } from "./gateway.mjs";

const CAEP = "https://schemas.openid.net/secevent/caep/event-type";
const SIGNALS = "https://flexgate.example/webhooks/signals";
const LOGOUT = "https://flexgate.example/webhooks/logout";

let gateway, server, issuer, keys, foreign;
before(async () => {
  keys = await generateKeyPair("ES256");
  foreign = await generateKeyPair("ES256");
  const jwks = { keys: [{ ...(await exportJWK(keys.publicKey)), kid: "k1", alg: "ES256", use: "sig" }] };
  server = createServer((request, response) => {
    const metadata = { issuer, jwks_uri: `${issuer}/keys` };
    const pages = { "/.well-known/ssf-configuration": metadata, "/.well-known/openid-configuration": metadata, "/keys": jwks };
    const page = pages[request.url];
    response.writeHead(page ? 200 : 404, { "content-type": "application/json" }).end(JSON.stringify(page ?? {}));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  issuer = `http://127.0.0.1:${server.address().port}`;
  const common = { transmitter: issuer };
  const sources = { standard: {}, signals: { kind: "ssf", audience: SIGNALS, ...common },
    logout: { kind: "global-token-revocation", audience: LOGOUT, ...common } };
  gateway = await start({ FLEXGATE_WEBHOOKS: JSON.stringify(sources) });
});
after(async () => {
  await gateway.stop();
  server.closeAllConnections();
  server.close();
});

// Signs this person in with a new browser. Returns a function that requests the session's token.
async function signedIn(person) {
  const jar = new Map();
  const send = async (url, options = {}) => {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const own = url.startsWith(gateway.url);
    const headers = { ...options.headers, ...(own && cookie ? { cookie } : {}) };
    const answer = await fetch(url, { ...options, headers, redirect: "manual" });
    for (const line of own ? answer.headers.getSetCookie() : []) {
      const [name, value] = line.split(";")[0].split(/=(.*)/s);
      if (/max-age=0/i.test(line)) jar.delete(name);
      else jar.set(name, value);
    }
    return answer;
  };
  // Flexgate refuses a login that begins in the same second in which the person's sessions were ended. So wait.
  await sleep(1100);
  let url = `${gateway.url}/sso/default/login`;
  let answer = await send(url);
  for (let steps = 0; steps < 10; steps += 1) {
    const location = answer.headers.get("location");
    if (location) {
      if (url.startsWith(`${gateway.url}/sso/default/callback`)) break;
      url = new URL(location, url).href;
      answer = await send(url);
    } else {
      const [, request] = (await answer.text()).match(/name="request"[^>]*value="([^"]*)"/);
      url = new URL("/idp/authorize/decision", url).href;
      answer = await send(url, { method: "POST", body: new URLSearchParams({ request, username: person }) });
    }
  }
  const token = () => send(`${gateway.url}/sso/token`, { method: "POST", headers: { origin: gateway.url, "x-flexgate": "1" } });
  assert.equal((await token()).status, 200, "the session begins");
  // Sessions and events have times in whole seconds. Wait, so that the next event is newer than the session.
  await sleep(1100);
  return token;
}

async function refused(token) {
  for (let tries = 0; tries < 100; tries += 1) {
    const answer = await token();
    if (answer.status !== 200) return answer.status;
    await sleep(20);
  }
  return 200;
}

const subject = { format: "email", email: "ada" };

function set(claims = {}, header = {}, key = keys.privateKey) {
  const events = { [`${CAEP}/session-revoked`]: {} };
  return new SignJWT({ sub_id: subject, events, ...claims })
    .setProtectedHeader({ alg: "ES256", kid: "k1", typ: "secevent+jwt", ...header })
    .setIssuer(issuer).setAudience(claims.aud ?? SIGNALS).setIssuedAt().setJti(crypto.randomUUID()).sign(key);
}

function push(token) {
  const headers = { "content-type": "application/secevent+jwt" };
  return fetch(`${gateway.url}/webhooks/signals`, { method: "POST", headers, body: token });
}

function revocation(typ = "global-token-revocation+jwt", audience = LOGOUT, key = keys.privateKey) {
  return new SignJWT({}).setProtectedHeader({ alg: "ES256", kid: "k1", typ })
    .setIssuer(issuer).setAudience(audience).setIssuedAt().setExpirationTime("5m").setJti(crypto.randomUUID()).sign(key);
}

function revoke(token, sub_id = subject) {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  return fetch(`${gateway.url}/webhooks/logout`, { method: "POST", headers, body: JSON.stringify({ sub_id }) });
}

test("a session-revoked event ends the session at once, and a new one begins", async () => {
  const token = await signedIn("ada");
  const answer = await push(await set());
  assert.equal(answer.status, 202);
  assert.equal(await answer.text(), "");
  assert.equal(await refused(token), 401);
  await signedIn("ada");
});

test("a Universal Logout request ends the session at once, also if Flexgate knows only the session", async () => {
  const token = await signedIn("ada");
  const answer = await revoke(await revocation());
  // Flexgate knows ada only from her session, so the answer says that the subject is unknown. Nevertheless, her session
  // ends.
  assert.equal(answer.status, 404);
  assert.equal((await answer.json()).code, "subject_unknown");
  assert.equal(await refused(token), 401);
});

test("another key, audience or type, and an event that expires, are refused and end nothing", async () => {
  const token = await signedIn("ada");
  for (const [forged, err] of [
    [await set({}, {}, foreign.privateKey), "authentication_failed"],
    [await set({ aud: "https://other.example" }), "invalid_audience"],
    [await set({}, { typ: "JWT" }), "invalid_request"],
    [await set({ exp: Math.floor(Date.now() / 1000) + 60 }), "invalid_request"],
  ]) {
    const answer = await push(forged);
    assert.equal(answer.status, 400);
    assert.equal((await answer.json()).err, err);
  }
  for (const forged of [
    await revocation(undefined, undefined, foreign.privateKey),
    await revocation("JWT"),
    await revocation(undefined, SIGNALS),
    await set(),
  ]) {
    const answer = await revoke(forged);
    assert.equal(answer.status, 401);
    assert.equal((await answer.json()).code, "token_invalid");
  }
  assert.equal((await token()).status, 200);
});
