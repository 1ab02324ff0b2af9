// Tests how the package signs out, and what it reports to a page if the person has signed in elsewhere.

import assert from "node:assert/strict";
import { test } from "node:test";

import { createFlexgate } from "../../shared/web/dist/index.js";

const bounded = { timeout: 10_000 };

/** Returns a client of a gateway that gives these answers, and the calls in their order. */
function gateway(...answers) {
  const calls = [];
  const fetch = async (url) => {
    calls.push(new URL(url).pathname);
    return answers.shift();
  };
  return { gate: createFlexgate({ baseUrl: "https://gate.example", fetch }), calls };
}

/** Returns an SDK client whose worker has the activities Available and Offline. */
function sdk(calls, { set = async () => {}, current = "WA1" } = {}) {
  const activity = (sid, name) => ({
    sid,
    name,
    setAsCurrent: async (options) => {
      calls.push(`${name} ${JSON.stringify(options)}`);
      await set();
    },
  });
  const activities = new Map([activity("WA1", "Available"), activity("WA2", "Offline")].map((one) => [one.sid, one]));
  return { getWorker: async () => ({ activities, activity: activities.get(current) }) };
}

const gone = () => new Response(null, { status: 204 });
const problem = (status, code) => Response.json({ code, title: code, status }, { status });

test("signing out sets the worker's activity by name or SID before the session ends", bounded, async () => {
  for (const activity of ["Offline", "WA2"]) {
    const { gate, calls } = gateway(gone());
    await gate.signOut(sdk(calls), { activity });
    assert.deepEqual(calls, ['Offline {"rejectPendingReservations":true}', "/sso/logout"]);
  }
});

test("without an activity, or with the current one, signing out only ends the session", bounded, async () => {
  const { gate, calls } = gateway(gone(), gone(), gone());
  await gate.signOut();
  await gate.signOut(sdk(calls));
  await gate.signOut(sdk(calls), { activity: "Available" });
  assert.deepEqual(calls, ["/sso/logout", "/sso/logout", "/sso/logout"]);
});

test("the session ends even if the activity cannot be set, and the page learns of that", bounded, async () => {
  const refuse = async () => {
    throw new Error("pending reservations");
  };
  for (const [options, activity] of [[{ set: refuse }, "Offline"], [{}, "Lunch"]]) {
    const { gate, calls } = gateway(gone());
    await assert.rejects(gate.signOut(sdk(calls, options), { activity }), { code: "activity_not_set" });
    assert.equal(calls.at(-1), "/sso/logout");
  }
});

test("a refused sign-out is the error, whatever became of the activity", bounded, async () => {
  const { gate, calls } = gateway(problem(403, "cross_site"));
  await assert.rejects(gate.signOut(sdk(calls), { activity: "Lunch" }), { code: "cross_site" });
});

test("a page whose person has signed in elsewhere is told so, at the start and later", bounded, async () => {
  for (const code of ["signed_in_elsewhere", "sign_in_locked"]) {
    const status = code === "sign_in_locked" ? 403 : 401;
    const { gate, calls } = gateway(problem(status, code), problem(status, code));
    await assert.rejects(gate.session(), { code, temporary: false });
    const told = await new Promise((resolve) => gate.keepFresh(null).on("ended", resolve));
    assert.equal(told.code, code);
    assert.deepEqual(calls, ["/sso/token", "/sso/token"], "it does not ask again");
  }
});
