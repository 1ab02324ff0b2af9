// Built from the source in shared/web. Do not edit: run npm run build there.

// src/clock.ts
var RENEW_BEFORE = 4.5 * 6e4;
var SHORTEST_PAUSE = 5e3;
var LONGEST_PAUSE = 6e4;
var LONGEST_RETRY_AFTER = 5 * 6e4;
function instant() {
  return { steady: performance.now(), wall: Date.now() };
}
var lifetimes = /* @__PURE__ */ new WeakMap();
function rememberLifetime(session, asked, lifetime) {
  lifetimes.set(session, { asked, lifetime });
}
function askedAt(session) {
  return session ? lifetimes.get(session)?.asked : void 0;
}
function timeLeft(session) {
  const known = lifetimes.get(session);
  if (!known) return Date.parse(session.expires_at) - (Date.now() + (session.clock_offset ?? 0));
  const now = instant();
  return known.lifetime - Math.max(now.steady - known.asked.steady, now.wall - known.asked.wall);
}
function nextRenewal(session) {
  const left = timeLeft(session);
  const pause = left > RENEW_BEFORE ? left - RENEW_BEFORE : left / 2;
  return performance.now() + Math.max(pause, SHORTEST_PAUSE);
}
function backoff(failures, retryAfter) {
  const doubling = Math.min(1e3 * 2 ** Math.min(failures, 10), LONGEST_PAUSE) * (0.5 + Math.random() / 2);
  return Math.max(doubling, Math.min(retryAfter ?? 0, LONGEST_RETRY_AFTER));
}

// src/error.ts
var FlexgateError = class extends Error {
  /**
   * One of the gateway's codes (docs/status-codes.md), or a code from the table above. Codes never change between
   * versions.
   */
  code;
  /** The HTTP status, or 0 if there was no answer. */
  status;
  /** One sentence about the kind of failure. */
  title;
  /** What happened in this case, or an empty text. */
  detail;
  /** Identifies the request in the gateway's log: 32 hex digits, or null if there was no answer. */
  requestId;
  /**
   * How long the gateway asks the page to wait before the next attempt, in milliseconds. Null if the gateway asks for no
   * delay.
   */
  retryAfter;
  /**
   * Makes an error. The tests of a page can use this.
   *
   * @param failure - What the error says.
   */
  constructor({ code, status = 0, title, detail, requestId = null, retryAfter = null, cause }) {
    super(detail ? `${title}. ${detail}` : title, { cause });
    this.name = "FlexgateError";
    this.code = code;
    this.status = status;
    this.title = title;
    this.detail = detail ?? "";
    this.requestId = requestId;
    this.retryAfter = retryAfter;
  }
  /** Whether the same request may succeed later. True if there was no answer, or if the status was 429 or at least 500. */
  get temporary() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
};

// src/sdk.ts
var PATIENCE = 15e3;
var AGAIN_AFTER = 5e3;
var TRIES = 3;
async function giveToken(client, token, taskRouter) {
  client.updateToken(token);
  const listeners = listenersOf(client);
  if (listeners) return tellListeners(client, token, listeners, TRIES);
  if (!taskRouter) return;
  const [worker, workspace] = await inTime(Promise.all([client.getWorker(), client.getWorkspace()]));
  worker.updateToken(token);
  workspace.updateToken(token);
}
function listenersOf(client) {
  let listeners = null;
  const run = (context) => {
    const { retrieveInstanceOf } = context;
    if (typeof retrieveInstanceOf !== "function") return;
    listeners = [];
    const Missing = class {
      constructor() {
        throw new RangeError();
      }
    };
    try {
      const emitter = retrieveInstanceOf.call(context, "ClientEventEmitter", Missing);
      listeners = emitter.listeners("tokenUpdated");
    } catch (error) {
      if (!(error instanceof RangeError)) listeners = null;
    }
  };
  try {
    client.execute?.({ run });
  } catch {
    return null;
  }
  return listeners;
}
function tellListeners(client, token, listeners, tries) {
  const failed = listeners.filter((listener) => {
    try {
      listener(token);
      return false;
    } catch {
      return true;
    }
  });
  if (failed.length === 0 || tries === 0) return;
  setTimeout(() => client.token === token && tellListeners(client, token, failed, tries - 1), AGAIN_AFTER);
}
async function setActivity(client, activity) {
  const worker = await inTime(client.getWorker());
  const wanted = [...worker.activities.values()].find(({ name, sid }) => name === activity || sid === activity);
  if (!wanted) throw new Error(`the worker has no activity ${activity}`);
  if (worker.activity?.sid !== wanted.sid) await inTime(wanted.setAsCurrent({ rejectPendingReservations: true }));
}
function inTime(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("the SDK's worker did not answer in time")), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// src/tabs.ts
var supported = () => typeof BroadcastChannel === "function" && Boolean(globalThis.navigator?.locks);
function tellTabs(name, message) {
  if (!supported()) return;
  const channel = new BroadcastChannel(name);
  channel.postMessage(message);
  channel.close();
}
function joinTabs(name, onMessage, onLead) {
  if (!supported()) return null;
  let channel = null;
  let leads = false;
  let leave = () => {
  };
  function join() {
    const left = new AbortController();
    const opened = new BroadcastChannel(name);
    opened.addEventListener("message", ({ data }) => !left.signal.aborted && onMessage(data));
    channel = opened;
    const lead = () => {
      if (left.signal.aborted) return;
      leads = true;
      onLead();
    };
    navigator.locks.request(name, { signal: left.signal }, () => {
      lead();
      return new Promise((resolve) => left.signal.addEventListener("abort", () => resolve(), { once: true }));
    }).catch(lead);
    leave = () => {
      left.abort();
      opened.close();
      channel = null;
      leads = false;
    };
  }
  const hide = () => leave();
  const show = (event) => {
    if (event.persisted) join();
  };
  globalThis.window?.addEventListener("pagehide", hide);
  globalThis.window?.addEventListener("pageshow", show);
  join();
  return {
    get leads() {
      return leads;
    },
    tell: (message) => channel?.postMessage(message),
    close() {
      globalThis.window?.removeEventListener("pagehide", hide);
      globalThis.window?.removeEventListener("pageshow", show);
      leave();
    }
  };
}

// src/keeper.ts
var REPORT_EVERY = 4 * 6e4;
var LOOK_EVERY = 5e3;
var DISAGREEMENT = 5e3;
var GRACE = 4e3;
var INPUTS = ["keydown", "pointerdown", "pointermove", "wheel"];
function keepFresh(ask, name, client, { from = null, isActive, taskRouter = true } = {}) {
  const listeners = /* @__PURE__ */ new Map();
  let current = from;
  let handed = client?.token;
  let asked = askedAt(from) ?? instant();
  let dueAt = from ? nextRenewal(from) : 0;
  let waitingSince = null;
  let failures = 0;
  let worked = false;
  let wanted = false;
  let stopped = false;
  let renewing = null;
  let timer;
  const tabs = joinTabs(name, hear, () => look());
  function emit(name2, event) {
    for (const listener of listeners.get(name2) ?? []) {
      try {
        listener(event);
      } catch (error) {
        void Promise.reject(error);
      }
    }
  }
  function start() {
    renewing ??= attempt().finally(() => {
      renewing = null;
      wanted = false;
      watch();
    });
    return renewing;
  }
  async function attempt() {
    if (stopped) throw new FlexgateError({ code: "stopped", title: "This is no longer kept fresh" });
    noteAsked();
    try {
      const fresh = await ask();
      if (stopped) return fresh;
      tellToken(fresh);
      await take(fresh);
      return fresh;
    } catch (error) {
      if (!stopped) failed(error, true);
      throw error;
    }
  }
  function noteAsked() {
    asked = instant();
    worked = false;
    waitingSince = null;
  }
  function tellToken(session) {
    tabs?.tell({ kind: "token", session, left: timeLeft(session), at: Date.now() });
  }
  async function take(fresh) {
    if (current?.flex_user_sid !== void 0 && fresh.flex_user_sid !== current.flex_user_sid) {
      const title = "Somebody else has signed in with this browser";
      throw new FlexgateError({ code: "another_user", status: 409, title });
    }
    const isNews = failures > 0 || fresh.access_token !== current?.access_token;
    current = fresh;
    dueAt = nextRenewal(fresh);
    if (client && fresh.access_token !== handed) {
      await giveToken(client, fresh.access_token, taskRouter);
      handed = fresh.access_token;
    }
    failures = 0;
    if (!stopped && isNews) emit("renewed", fresh);
  }
  function failed(error, own) {
    if (error instanceof FlexgateError && !error.temporary) {
      if (own && error.code !== "another_user") tabs?.tell({ kind: "ended", error: plain(error) });
      return end(error);
    }
    const pause = backoff(failures, error instanceof FlexgateError ? error.retryAfter : null);
    if (own && error instanceof FlexgateError) tabs?.tell({ kind: "trouble", error: plain(error), pause });
    postpone(error, pause);
  }
  function postpone(error, pause) {
    failures += 1;
    dueAt = performance.now() + pause;
    if (matters(error)) emit("trouble", { error, retryIn: pause });
  }
  function end(error) {
    stop();
    if (error.code === "signed_in_elsewhere") emit("signed_in_elsewhere", error);
    emit("ended", error);
  }
  function matters(error) {
    return wanted || !(error instanceof FlexgateError) || !current || timeLeft(current) <= RENEW_BEFORE;
  }
  function hear(message) {
    if (stopped) return;
    if (message.kind === "due") {
      worked ||= message.worked;
      return look();
    }
    if (message.kind === "ended") return end(new FlexgateError(message.error));
    noteAsked();
    if (message.kind === "trouble") postpone(new FlexgateError(message.error), message.pause);
    else adopt(message);
    watch();
  }
  function adopt({ session, left, at }) {
    if (current && session.flex_user_sid === current.flex_user_sid && Date.parse(session.expires_at) < Date.parse(current.expires_at)) return;
    rememberLifetime(session, asked, left - Math.max(Date.now() - at, 0));
    take(session).catch((error) => {
      if (!stopped) failed(error, false);
      watch();
    });
  }
  function watch() {
    clearTimeout(timer);
    if (!stopped) timer = setTimeout(look, Math.min(Math.max(dueAt - performance.now(), 0), LOOK_EVERY));
  }
  function look() {
    if (stopped || renewing) return;
    clearTimeout(timer);
    timer = setTimeout(look, LOOK_EVERY);
    if (!isDue()) watch();
    else if (mayAsk()) start().catch(() => {
    });
    else tabs?.tell({ kind: "due", worked });
  }
  function isDue() {
    const now = instant();
    const [steady, wall] = [now.steady - asked.steady, now.wall - asked.wall];
    if (now.steady >= dueAt || Math.abs(wall - steady) > DISAGREEMENT) return true;
    worked ||= steady >= REPORT_EVERY && Boolean(isActive?.());
    return failures === 0 && steady >= REPORT_EVERY && worked;
  }
  function mayAsk() {
    if (!tabs || tabs.leads || !current || client && handed !== current.access_token) return true;
    waitingSince ??= performance.now();
    return performance.now() - waitingSince >= GRACE;
  }
  function wake() {
    if (globalThis.document?.visibilityState === "hidden") return;
    if (failures > 0) dueAt = Math.min(dueAt, performance.now() + SHORTEST_PAUSE);
    look();
  }
  function work() {
    worked = true;
  }
  function listen(how) {
    globalThis.document?.[how]("visibilitychange", wake);
    for (const event of ["online", "pageshow"]) globalThis.window?.[how]?.(event, wake);
    for (const event of INPUTS) globalThis.window?.[how]?.(event, work, { capture: true, passive: true });
  }
  function stop() {
    stopped = true;
    clearTimeout(timer);
    listen("removeEventListener");
    tabs?.close();
    client = null;
  }
  listen("addEventListener");
  watch();
  if (from) tellToken(from);
  return {
    on(name2, listener) {
      const those = listeners.get(name2) ?? /* @__PURE__ */ new Set();
      listeners.set(name2, those.add(listener));
      return () => void those.delete(listener);
    },
    renew() {
      wanted = true;
      return start();
    },
    stop,
    attach(later) {
      client = later;
      handed = later.token;
      if (current && later.token !== current.access_token) later.updateToken(current.access_token);
    },
    get session() {
      return current;
    }
  };
}
function plain({ code, status, title, detail, requestId, retryAfter }) {
  return { code, status, title, detail, requestId, retryAfter };
}

// src/gateway.ts
function createFlexgate({
  baseUrl = globalThis.location?.origin,
  profile = "default",
  fetch = globalThis.fetch
} = {}) {
  if (!baseUrl) throw new TypeError("createFlexgate needs a baseUrl where there is no location");
  const base = String(baseUrl).replace(/\/+$/, "");
  const tabs = `flexgate ${base}`;
  function signInUrl({ returnTo, prompt } = {}) {
    const query = Object.entries({ return_to: returnTo, prompt }).flatMap(([name, value]) => value === void 0 ? [] : [`${name}=${encodeURIComponent(value)}`]);
    return `${base}/sso/${encodeURIComponent(profile)}/login${query.length > 0 ? "?" : ""}${query.join("&")}`;
  }
  function here() {
    const { href, origin, pathname, search, hash } = location;
    return new URL(base, href).origin === origin ? pathname + search + hash : href;
  }
  async function ask() {
    const asked = instant();
    const response = await post("/sso/token");
    const body = await response.json().catch(() => null);
    if (response.ok && typeof body?.access_token === "string" && !Number.isNaN(Date.parse(body.expires_at))) {
      const session = { ...body, clock_offset: clockOffset(response) };
      const told = Date.parse(response.headers.get("date") ?? "");
      rememberLifetime(session, asked, Date.parse(body.expires_at) - (Number.isNaN(told) ? asked.wall : told));
      return session;
    }
    throw refusal(response, response.ok ? null : body);
  }
  async function post(path) {
    try {
      return await fetch(base + path, {
        method: "POST",
        headers: { "x-flexgate": "1" },
        credentials: "include",
        cache: "no-store",
        redirect: "error",
        signal: AbortSignal.timeout(PATIENCE)
      });
    } catch (cause) {
      const title = "The gateway cannot be reached";
      throw new FlexgateError({ code: "unreachable", title, detail: "Check your connection.", cause });
    }
  }
  return {
    signInUrl,
    signIn({ returnTo = here(), prompt } = {}) {
      location.assign(signInUrl({ returnTo, prompt }));
    },
    async session() {
      try {
        return await ask();
      } catch (error) {
        if (error instanceof FlexgateError && error.code === "not_signed_in") return null;
        throw error;
      }
    },
    async signOut(client = null, { activity } = {}) {
      let cause;
      if (client && activity !== void 0) await setActivity(client, activity).catch((error) => cause = error);
      const response = await post("/sso/logout");
      if (!response.ok) throw refusal(response, await response.json().catch(() => null));
      tellTabs(tabs, { kind: "ended", error: { code: "signed_out", status: 401, title: "Somebody signed out in this browser" } });
      if (cause) {
        const title = "You are signed out, but your activity was not set";
        throw new FlexgateError({ code: "activity_not_set", title, detail: "You may still get tasks.", cause });
      }
    },
    keepFresh: (client, options) => keepFresh(ask, tabs, client, options)
  };
}
function clockOffset(response) {
  const told = Date.parse(response.headers.get("date") ?? "");
  const offset = told - Date.now();
  return Number.isNaN(offset) || Math.abs(offset) < 5e3 ? 0 : offset;
}
function refusal(response, problem) {
  const known = typeof problem?.code === "string" ? problem : null;
  return new FlexgateError({
    code: known?.code ?? "answer_unusable",
    // An unusable body with status 200 is a failure of the gateway, so use status 502.
    status: response.ok ? 502 : response.status,
    title: known?.title ?? "The gateway's answer could not be used",
    detail: known?.detail,
    requestId: known?.request_id ?? response.headers.get("x-request-id"),
    retryAfter: waitAsked(response.headers.get("retry-after"))
  });
}
function waitAsked(header) {
  if (!header) return null;
  const wait = /^\d+$/.test(header.trim()) ? Number(header) * 1e3 : Date.parse(header) - Date.now();
  return Number.isNaN(wait) ? null : Math.max(wait, 0);
}
export {
  FlexgateError,
  createFlexgate,
  timeLeft
};
//# sourceMappingURL=index.js.map
