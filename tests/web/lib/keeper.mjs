// Mocks for the tests of shared/web: a computer with two clocks and timers, and a gateway.

import { mock } from "node:test";

import { createFlexgate } from "../../../shared/web/dist/index.js";

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
const START = Date.parse("2026-01-05T08:00:00Z");

/** The number of requests to all mocked gateways. */
let requests = 0;

/**
 * Mocks this process's timers and clocks. `wall` is `Date.now()`, `steady` is `performance.now()`, and `truth` is the
 * real time.
 */
export function mockComputer() {
  const now = { truth: START, wall: START, steady: 0 };
  mock.timers.enable({ apis: ["setTimeout"] });
  mock.method(Date, "now", () => now.wall);
  mock.method(performance, "now", () => now.steady);
  const forward = (milliseconds, clocks) => clocks.forEach((clock) => (now[clock] += milliseconds));
  return {
    now,
    /**
     * Advances all clocks in steps of at most a second, so that timers run as in a page. Calls `eachStep` after each
     * step.
     */
    async pass(milliseconds, eachStep = () => {}) {
      for (let gone = 0; gone < milliseconds; gone += 1_000) {
        const step = Math.min(1_000, milliseconds - gone);
        const before = requests;
        forward(step, ["truth", "wall", "steady"]);
        mock.timers.tick(step);
        await settle(requests > before ? 30 : 1);
        eachStep();
      }
    },
    /**
     * Advances the clocks but not the timers, as during sleep. The steady clock stops on macOS and Linux, but not on
     * Windows.
     */
    sleep(milliseconds, { steady = false } = {}) {
      forward(milliseconds, steady ? ["truth", "wall", "steady"] : ["truth", "wall"]);
    },
    /** Changes only the wall clock. */
    moveClock(milliseconds) {
      forward(milliseconds, ["wall"]);
    },
    restore() {
      mock.timers.reset();
      mock.restoreAll();
    },
  };
}

/** Waits until pending promises settle. The mocked timers do not affect `setImmediate`. */
export async function settle(turns = 30) {
  for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
}

/** Adds a document and a window to this process. Returns them, and a function that removes them. */
export function mockPage() {
  const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  const window = new EventTarget();
  Object.assign(globalThis, { document, window });
  return {
    document,
    window,
    close() {
      delete globalThis.document;
      delete globalThis.window;
    },
  };
}

export function token(name, lifetime) {
  return { access_token: name, expires_at: new Date(Date.now() + lifetime).toISOString() };
}

export function problem(status, code, headers = {}) {
  const body = { code, title: code, detail: "", status, request_id: "7".repeat(32) };
  return Response.json(body, { status, headers });
}

/** Starts keepFresh with a gateway that returns these answers in order, and then repeats the last answer. */
export function keep(answers, { client = null, ...options } = {}) {
  const told = { asked: [], renewed: [], troubles: [], ends: [] };
  const fetch = async (url, init) => {
    requests += 1;
    told.asked.push({ at: performance.now(), url, init });
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    const response = answer();
    if (response instanceof Error) throw response;
    return response instanceof Response ? response : Response.json(response);
  };
  const gate = createFlexgate({ baseUrl: "https://gate.example/", fetch });
  const keeper = gate.keepFresh(client, options);
  keeper.on("renewed", (session) => told.renewed.push(session.access_token));
  keeper.on("trouble", ({ error, retryIn }) => told.troubles.push({ code: error.code, pause: retryIn }));
  keeper.on("ended", (error) => told.ends.push(error));
  return { keeper, told, gate };
}

/**
 * Mocks a gateway. It refreshes a token that is valid for less than five minutes, and ends a session after `idle`
 * without use. It records the time of use at most once a minute. `answer` can be passed to `keep`.
 */
export function mockGateway(now, { lifetime = HOUR, idle = 2 * HOUR } = {}) {
  const gateway = { refreshes: 0, expiresAt: 0, usedAt: now.truth, away: false };
  gateway.answer = () => {
    if (gateway.away) return problem(503, "unavailable");
    if (now.truth - gateway.usedAt >= idle) return problem(401, "reauthenticate");
    if (now.truth - gateway.usedAt >= MINUTE) gateway.usedAt = now.truth;
    if (gateway.expiresAt - now.truth < 5 * MINUTE) {
      gateway.expiresAt = now.truth + lifetime;
      gateway.refreshes += 1;
    }
    const body = { access_token: `token-${gateway.refreshes}`, expires_at: new Date(gateway.expiresAt).toISOString() };
    return Response.json(body, { headers: { date: new Date(now.truth).toUTCString() } });
  };
  return gateway;
}
