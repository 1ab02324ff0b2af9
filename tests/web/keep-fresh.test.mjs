// Tests the package with a mocked clock and a mocked gateway: the times of renewals, and the failures.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { createFlexgate, FlexgateError, timeLeft } from "../../shared/web/dist/index.js";
import { keep, MINUTE, mockComputer, problem, token } from "./lib/keeper.mjs";

const bounded = { timeout: 10_000 };

let computer;
const pass = (milliseconds) => computer.pass(milliseconds);

beforeEach(() => (computer = mockComputer()));
afterEach(() => computer.restore());

test("it renews four and a half minutes before the token expires, and not before", bounded, async () => {
  const { keeper, told } = keep([() => token("second", 60 * MINUTE)], { from: token("first", 60 * MINUTE) });
  await pass(55 * MINUTE);
  assert.equal(told.asked.length, 0);
  await pass(MINUTE);
  assert.deepEqual(told.renewed, ["second"]);
  assert.equal(told.asked[0].url, "https://gate.example/sso/token");
  assert.equal(told.asked[0].init.method, "POST");
  assert.equal(told.asked[0].init.credentials, "include");
  assert.equal(told.asked[0].init.headers["x-flexgate"], "1");
  keeper.stop();
});

test("it goes on over many token periods, one request each", bounded, async () => {
  let count = 0;
  const { keeper, told } = keep([() => token(`token-${++count}`, 10 * MINUTE)], { from: token("first", 10 * MINUTE) });
  await pass(56 * MINUTE);
  assert.equal(told.asked.length, 10);
  assert.equal(keeper.session.access_token, "token-10");
  keeper.stop();
});

test("a token that stays short is asked about ever again, but never in a rush", bounded, async () => {
  const last = token("last", 4 * MINUTE);
  const { keeper, told } = keep([() => last], { from: last });
  await pass(4 * MINUTE);
  assert.ok(told.asked.length >= 3 && told.asked.length <= 10, `${told.asked.length} requests`);
  keeper.stop();
});

test("a clock that is ten minutes ahead of the gateway's does not make it ask without end", bounded, async () => {
  const answer = () => {
    const gateway = Date.now() - 10 * MINUTE;
    const body = { access_token: "t", expires_at: new Date(gateway + 14 * MINUTE).toISOString() };
    return Response.json(body, { headers: { date: new Date(gateway).toUTCString() } });
  };
  const { keeper, told } = keep([answer]);
  await pass(5 * MINUTE);
  assert.equal(told.asked.length, 1);
  assert.ok(Math.abs(timeLeft(keeper.session) - 9 * MINUTE) < 5_000, `${timeLeft(keeper.session)} ms left`);
  keeper.stop();
});

test("the page learns of a failed renewal that it asked for, but not of the retries while the token is good", bounded, async () => {
  const { keeper, told } = keep([() => problem(503, "unavailable")], { from: token("first", 60 * MINUTE) });
  await assert.rejects(keeper.renew(), { code: "unavailable" });
  await pass(2 * MINUTE);
  assert.ok(told.asked.length > 3, `${told.asked.length} requests`);
  assert.equal(told.troubles.length, 1);
  await pass(55 * MINUTE);
  assert.ok(told.troubles.length > 1, "the token expires soon");
  keeper.stop();
});

test("it asks again after failures that may pass, and never before Retry-After", bounded, async () => {
  const busy = () => problem(503, "unavailable", { "retry-after": "20" });
  const answers = [busy, () => problem(504, "timeout"), () => new TypeError("no network"), () => token("second", 60 * MINUTE)];
  const { keeper, told } = keep(answers);
  await pass(MINUTE);
  assert.deepEqual(told.troubles.map(({ code }) => code), ["unavailable", "timeout", "unreachable"]);
  assert.deepEqual(told.renewed, ["second"]);
  assert.deepEqual(told.ends, []);
  assert.ok(told.asked[1].at - told.asked[0].at >= 20_000);
  keeper.stop();
});

test("a gateway that stays away is asked less and less often, and not given up", bounded, async () => {
  const { keeper, told } = keep([() => problem(503, "unavailable")]);
  await pass(30 * MINUTE);
  assert.ok(told.asked.length > 25 && told.asked.length < 80, `${told.asked.length} requests in half an hour`);
  assert.ok(told.troubles.every(({ pause }) => pause <= MINUTE));
  keeper.stop();
});

for (const [code, answer] of [
  ["reauthenticate", () => problem(401, "reauthenticate")],
  ["not_signed_in", () => problem(401, "not_signed_in")],
  ["cross_site", () => problem(403, "cross_site")],
]) {
  test(`it ends once, for good, with ${code}`, bounded, async () => {
    const { told } = keep([answer]);
    await pass(10 * MINUTE);
    assert.equal(told.asked.length, 1);
    assert.deepEqual(told.ends.map((error) => error.code), [code]);
    assert.ok(told.ends[0] instanceof FlexgateError);
    assert.equal(told.ends[0].requestId, "7".repeat(32));
  });
}

test("the token of somebody else, who signed in in another tab, is not handed over", bounded, async () => {
  const client = { updateToken: mock.fn() };
  const theirs = () => ({ ...token("theirs", 60 * MINUTE), flex_user_sid: "FU2" });
  const from = { ...token("first", 60 * MINUTE), flex_user_sid: "FU1" };
  const { keeper, told } = keep([theirs], { client, from, taskRouter: false });
  await assert.rejects(keeper.renew(), { code: "another_user" });
  assert.deepEqual(told.ends.map((error) => error.code), ["another_user"]);
  assert.equal(client.updateToken.mock.callCount(), 0);
});

test("after stop it neither asks nor tells anything", bounded, async () => {
  const { keeper, told } = keep([() => token("second", 60 * MINUTE)], { from: token("first", 5 * MINUTE) });
  keeper.stop();
  await pass(10 * MINUTE);
  assert.deepEqual(told, { asked: [], renewed: [], troubles: [], ends: [] });
});

test("a new token reaches the client, its worker and its workspace", bounded, async () => {
  const holder = () => ({ updateToken: mock.fn() });
  const [worker, workspace] = [holder(), holder()];
  const client = { ...holder(), getWorker: async () => worker, getWorkspace: async () => workspace };
  const { keeper } = keep([() => token("second", 60 * MINUTE)], { client, from: token("first", 60 * MINUTE) });
  await keeper.renew();
  for (const part of [client, worker, workspace]) {
    assert.deepEqual(part.updateToken.mock.calls.map((call) => call.arguments), [["second"]]);
  }
  keeper.stop();
});

test("renewals asked for at once are one request", bounded, async () => {
  const { keeper, told } = keep([() => token("second", 60 * MINUTE)], { from: token("first", 60 * MINUTE) });
  const both = await Promise.all([keeper.renew(), keeper.renew()]);
  assert.equal(told.asked.length, 1);
  assert.ok(both.every((session) => session.access_token === "second"));
  keeper.stop();
});

test("session() is null for nobody, and every other refusal is an error with code, status and request id", bounded, async () => {
  const { gate, keeper } = keep([() => problem(401, "not_signed_in"), () => problem(502, "upstream_invalid")], {
    from: token("first", 60 * MINUTE),
  });
  assert.equal(await gate.session(), null);
  await assert.rejects(gate.session(), { code: "upstream_invalid", status: 502, requestId: "7".repeat(32), temporary: true });
  keeper.stop();
});

test("an answer that is no session is a failure, also with status 200", bounded, async () => {
  const { gate, keeper } = keep([() => Response.json({}), () => new Response("<html>")], { from: token("first", 60 * MINUTE) });
  for (let turn = 0; turn < 2; turn++) await assert.rejects(gate.session(), { code: "answer_unusable", temporary: true });
  keeper.stop();
});

test("a new token reaches the client alone if the page uses neither worker nor workspace", bounded, async () => {
  const client = { updateToken: mock.fn(), getWorker: mock.fn(), getWorkspace: mock.fn() };
  const { keeper } = keep([() => token("second", 60 * MINUTE)], { client, from: token("first", 60 * MINUTE), taskRouter: false });
  await keeper.renew();
  assert.deepEqual(client.updateToken.mock.calls.map((call) => call.arguments), [["second"]]);
  assert.equal(client.getWorker.mock.callCount() + client.getWorkspace.mock.callCount(), 0);
  keeper.stop();
});

test("a token that the client and its worker already have is not handed to them again", bounded, async () => {
  const holder = () => ({ updateToken: mock.fn() });
  const [worker, workspace] = [holder(), holder()];
  const client = { ...holder(), getWorker: async () => worker, getWorkspace: async () => workspace };
  const { keeper, told } = keep([() => token("second", 60 * MINUTE)], { client, from: token("first", 60 * MINUTE) });
  for (let turn = 0; turn < 3; turn++) await keeper.renew();
  assert.equal(told.asked.length, 3);
  assert.deepEqual(told.renewed, ["second"]);
  for (const part of [client, worker, workspace]) assert.equal(part.updateToken.mock.callCount(), 1);
  keeper.stop();
});

test("a client that was made with an older token gets the session's, and so does its worker", bounded, async () => {
  const holder = () => ({ updateToken: mock.fn() });
  const [worker, workspace] = [holder(), holder()];
  const client = { ...holder(), token: "older", getWorker: async () => worker, getWorkspace: async () => workspace };
  const from = token("first", 60 * MINUTE);
  const { keeper } = keep([() => from], { client, from });
  await keeper.renew();
  for (const part of [client, worker, workspace]) {
    assert.deepEqual(part.updateToken.mock.calls.map((call) => call.arguments), [["first"]]);
  }
  keeper.stop();

  const attached = { ...client, updateToken: mock.fn() };
  const later = keep([() => from], { from });
  later.keeper.attach(attached);
  assert.deepEqual(attached.updateToken.mock.calls.map((call) => call.arguments), [["first"]]);
  await later.keeper.renew();
  assert.equal(worker.updateToken.mock.callCount(), 2, "the worker of the attached client gets it at the next renewal");
  later.keeper.stop();
});

test("a worker that does not take the token is tried again, and the page learns of it", bounded, async () => {
  let answers = false;
  const worker = { updateToken: mock.fn() };
  const getWorker = async () => {
    if (!answers) throw new Error("the worker is not connected");
    return worker;
  };
  const client = { updateToken: mock.fn(), getWorker, getWorkspace: async () => ({ updateToken() {} }) };
  const { keeper, told } = keep([() => token("second", 60 * MINUTE)], { client, from: token("first", 60 * MINUTE) });
  await assert.rejects(keeper.renew(), /not connected/);
  await pass(5_000);
  assert.ok(told.troubles.length >= 2, `${told.troubles.length} troubles`);
  answers = true;
  await pass(MINUTE);
  assert.deepEqual(worker.updateToken.mock.calls.map((call) => call.arguments), [["second"]]);
  assert.deepEqual(told.renewed, ["second"]);
  keeper.stop();
});

test("every part of the SDK that listens gets the token, and one that is not ready gets it soon", bounded, async () => {
  const [ready, starting] = [mock.fn(), mock.fn()];
  starting.mock.mockImplementationOnce(() => {
    throw new TypeError("the device registers");
  });
  const emitter = { listeners: (name) => (name === "tokenUpdated" ? [starting, ready] : []) };
  const context = { retrieveInstanceOf: (name) => (name === "ClientEventEmitter" ? emitter : assert.fail(name)) };
  const client = {
    token: "first",
    updateToken: mock.fn((token) => (client.token = token)),
    getWorker: mock.fn(),
    getWorkspace: mock.fn(),
    execute: (action) => action.run(context),
  };
  const { keeper, told } = keep([() => token("second", 60 * MINUTE)], { client, from: token("first", 60 * MINUTE) });
  await keeper.renew();
  assert.equal(starting.mock.callCount(), 1);
  await pass(6_000);
  assert.deepEqual(starting.mock.calls.map((call) => call.arguments), [["second"], ["second"]]);
  for (const part of [client.updateToken, ready]) assert.deepEqual(part.mock.calls.map((call) => call.arguments), [["second"]]);
  assert.equal(client.getWorker.mock.callCount() + client.getWorkspace.mock.callCount(), 0, "nothing is connected for it");
  assert.deepEqual([told.troubles, told.renewed], [[], ["second"]]);
  keeper.stop();
});

test("a client of which no part is in use gets the token, and nothing is made in it", bounded, async () => {
  const context = { retrieveInstanceOf: (name, Missing) => new Missing() };
  const client = { updateToken: mock.fn(), getWorker: mock.fn(), getWorkspace: mock.fn(), execute: (action) => action.run(context) };
  const { keeper } = keep([() => token("second", 60 * MINUTE)], { client, from: token("first", 60 * MINUTE) });
  await keeper.renew();
  assert.equal(client.updateToken.mock.callCount(), 1);
  assert.equal(client.getWorker.mock.callCount(), 0);
  keeper.stop();
});

test("the sign-in address carries where to return to, and nothing can escape into its path", () => {
  const gate = createFlexgate({ baseUrl: "https://gate.example", profile: "a/../b" });
  assert.equal(gate.signInUrl({ returnTo: "/desk?x=1&y=2" }), "https://gate.example/sso/a%2F..%2Fb/login?return_to=%2Fdesk%3Fx%3D1%26y%3D2");
});

test("the sign-in address carries the prompt, and nothing that is not asked for", () => {
  const gate = createFlexgate({ baseUrl: "https://gate.example" });
  const login = "https://gate.example/sso/default/login";
  assert.equal(gate.signInUrl(), login);
  assert.equal(gate.signInUrl({ prompt: "select_account" }), `${login}?prompt=select_account`);
  assert.equal(gate.signInUrl({ returnTo: "/", prompt: "login" }), `${login}?return_to=%2F&prompt=login`);
});

for (const [baseUrl, target] of [
  [undefined, "/desk?x=1#y"],
  ["/gate", "/desk?x=1#y"],
  ["https://app.example/gate", "/desk?x=1#y"],
  ["https://gate.example", "https://app.example/desk?x=1#y"],
]) {
  test(`the browser comes back to the current page from the gateway at ${baseUrl ?? "the page's own origin"}`, () => {
    const assign = mock.fn();
    const { origin, pathname, search, hash, href } = new URL("https://app.example/desk?x=1#y");
    globalThis.location = { origin, pathname, search, hash, href, assign };
    try {
      createFlexgate({ baseUrl }).signIn();
    } finally {
      delete globalThis.location;
    }
    assert.equal(new URL(assign.mock.calls[0].arguments[0], origin).searchParams.get("return_to"), target);
  });
}
