/**
 * Flexgate for front ends: signs in, gets the Flex token, keeps the token valid, signs out.
 *
 * It has no dependencies and stores nothing. It works in browsers and in Node 20.
 */

/**
 * How long before expiry to renew a token, in milliseconds. The gateway returns a new token only if the old token is
 * valid for less than 5 minutes.
 */
const RENEW_BEFORE = 4.5 * 60_000;
/** The timeout of every request, in milliseconds. */
const PATIENCE = 15_000;
/**
 * While somebody uses the page, request the token at least this often, so that the session does not become idle. The
 * shortest idle limit of a gateway is ten minutes.
 */
const REPORT_EVERY = 4 * 60_000;
/**
 * How often to check the clocks, in milliseconds. Timers stop while the machine sleeps, so one long timer would be
 * late.
 */
const LOOK_EVERY = 5_000;
/**
 * If the elapsed times on the two clocks differ by more milliseconds than this, the machine has slept or its clock has
 * been set.
 */
const DISAGREEMENT = 5_000;
/** Browser events that show that somebody uses the page. */
const INPUTS = ["keydown", "pointerdown", "pointermove", "wheel"];
const SHORTEST_PAUSE = 5_000;
const LONGEST_PAUSE = 60_000;
const LONGEST_RETRY_AFTER = 5 * 60_000;

/**
 * A refusal or a failure. `code` never changes between versions. `requestId` identifies the request in the gateway's
 * log.
 */
export class FlexgateError extends Error {
  constructor({ code, status = 0, title, detail, requestId = null, retryAfter = null, cause }) {
    super(detail ? `${title}. ${detail}` : title, { cause });
    this.name = "FlexgateError";
    this.code = code;
    this.status = status;
    this.title = title;
    this.detail = detail ?? "";
    this.requestId = requestId;
    /** The delay before the next attempt that the gateway requested, in milliseconds, or null. */
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later. */
  get temporary() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/**
 * Creates a client of the gateway at `baseUrl`, for the SSO profile `profile`. If the page has another origin than the
 * gateway, FLEXGATE_ALLOWED_ORIGINS must contain the page's origin.
 */
export function createFlexgate({ baseUrl = globalThis.location?.origin, profile = "default", fetch = globalThis.fetch } = {}) {
  if (!baseUrl) throw new TypeError("createFlexgate needs a baseUrl where there is no location");
  const base = String(baseUrl).replace(/\/+$/, "");

  /**
   * Returns the URL that starts a sign-in. `returnTo` is a path on the gateway's origin, or a URL on an allowed origin.
   * With `prompt` set to `select_account`, the identity provider lets the person choose an account.
   */
  function signInUrl({ returnTo, prompt } = {}) {
    const query = Object.entries({ return_to: returnTo, prompt })
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
    return `${base}/sso/${encodeURIComponent(profile)}/login${query.length > 0 ? "?" : ""}${query.join("&")}`;
  }

  /** Navigates to the sign-in. Afterwards the browser returns to `returnTo`, by default the current page. */
  function signIn({ returnTo = here(), prompt } = {}) {
    location.assign(signInUrl({ returnTo, prompt }));
  }

  /** Returns the current page's path, or its whole URL if the gateway has another origin. */
  function here() {
    const { href, origin, pathname, search, hash } = location;
    return new URL(base, href).origin === origin ? pathname + search + hash : href;
  }

  /** Returns the token and its user, or null if nobody is signed in. */
  async function session() {
    try {
      return await ask();
    } catch (error) {
      if (error.code === "not_signed_in") return null;
      throw error;
    }
  }

  async function ask() {
    const asked = instant();
    const response = await post("/sso/token");
    const body = await response.json().catch(() => null);
    if (response.ok && typeof body?.access_token === "string" && !Number.isNaN(Date.parse(body.expires_at))) {
      const session = { ...body, clock_offset: clockOffset(response) };
      const told = Date.parse(response.headers.get("date") ?? "");
      lifetimes.set(session, { asked, lifetime: Date.parse(body.expires_at) - (Number.isNaN(told) ? asked.wall : told) });
      return session;
    }
    throw refusal(response, response.ok ? null : body);
  }

  /**
   * Ends the session. The page must discard its token, because the token stays valid until it expires.
   *
   * With `activity` (a name such as "Offline", or a SID), first sets the worker's activity through the SDK's `client`, and
   * rejects pending reservations, so that no task goes to somebody who has left. If that fails, the session ends
   * nevertheless, and signOut then rejects with the code `activity_not_set`.
   */
  async function signOut(client = null, { activity } = {}) {
    let cause = null;
    if (client && activity !== undefined) await setActivity(client, activity).catch((error) => (cause = error));
    const response = await post("/sso/logout");
    if (!response.ok) throw refusal(response, await response.json().catch(() => null));
    if (cause) {
      const title = "You are signed out, but your activity was not set";
      throw new FlexgateError({ code: "activity_not_set", title, detail: "You may still get tasks.", cause });
    }
  }

  async function post(path) {
    try {
      return await fetch(base + path, {
        method: "POST",
        headers: { "x-flexgate": "1" },
        credentials: "include",
        cache: "no-store",
        redirect: "error",
        signal: AbortSignal.timeout(PATIENCE),
      });
    } catch (cause) {
      const title = "The gateway cannot be reached";
      throw new FlexgateError({ code: "unreachable", title, detail: "Check your connection.", cause });
    }
  }

  /**
   * Keeps the token of `client` valid. `client` comes from the SDK's createClient, or is null. Each new token goes to
   * the client, its worker and its workspace, because `client.updateToken` updates only the client.
   *
   * Also keeps the session from becoming idle while the page receives input, or while `isActive()` returns true.
   *
   * * `from`: the first session. Without it, keepFresh requests a session at once.
   * * `onRenew(session)`: called with each new token, and when a retry succeeds.
   * * `onTrouble(error, retryInMs)`: called when a renewal fails and a retry follows. Not called while the token is
   *   valid for more than 4.5 minutes, unless somebody called `renew`.
   * * `onEnd(error)`: called once, after the last renewal. The code is `reauthenticate`, `not_signed_in`,
   *   `signed_in_elsewhere` (the person has signed in in another browser), `sign_in_locked` (nobody may use a session),
   *   `another_user`, or that of another permanent refusal.
   * * `taskRouter: false`: for a page that uses neither worker nor workspace. Otherwise the SDK connects both.
   */
  function keepFresh(client, { from = null, onRenew, onTrouble, onEnd, isActive, taskRouter = true } = {}) {
    let current = from;
    /** The token of the client, its worker and its workspace. */
    let handed = client?.token;
    /** The time of the last request to the gateway. */
    let asked = lifetimes.get(from)?.asked ?? instant();
    /** When to renew, in milliseconds of `performance.now()`. */
    let dueAt = from ? nextRenewal(from) : 0;
    let failures = 0;
    let worked = false;
    let wanted = false;
    let stopped = false;
    let renewing = null;
    let timer = null;

    /**
     * Renews now, or waits for the renewal that is in progress. If the renewal fails, calls the callbacks and then
     * rejects.
     */
    function renew() {
      wanted = true;
      return start();
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
      asked = instant();
      worked = false;
      try {
        const fresh = await ask();
        if (stopped) return fresh;
        if (current?.flex_user_sid !== undefined && fresh.flex_user_sid !== current.flex_user_sid) {
          // Another user has signed in through another tab, because all tabs share the session cookie. This page's
          // client belongs to the first user and must not get another user's token.
          const title = "Somebody else has signed in with this browser";
          throw new FlexgateError({ code: "another_user", status: 409, title });
        }
        const isNews = failures > 0 || fresh.access_token !== current?.access_token;
        current = fresh;
        dueAt = nextRenewal(fresh);
        await hand(fresh.access_token);
        failures = 0;
        if (!stopped && isNews) onRenew?.(fresh);
        return fresh;
      } catch (error) {
        if (stopped) throw error;
        if (error instanceof FlexgateError && !error.temporary) {
          stop();
          onEnd?.(error);
        } else {
          const pause = backoff(failures++, error.retryAfter);
          dueAt = performance.now() + pause;
          if (matters(error)) onTrouble?.(error, pause);
        }
        throw error;
      }
    }

    /**
     * Whether to report a failure to the page. A temporary failure does not matter while the token is valid for more
     * than 4.5 minutes.
     */
    function matters(error) {
      return wanted || !(error instanceof FlexgateError) || !current || timeLeft(current) <= RENEW_BEFORE;
    }

    async function hand(token) {
      if (!client || token === handed) return;
      client.updateToken(token);
      if (taskRouter) {
        const [worker, workspace] = await inTime(Promise.all([client.getWorker(), client.getWorkspace()]));
        worker.updateToken(token);
        workspace.updateToken(token);
      }
      handed = token;
    }

    /** Schedules the next check of the clocks. */
    function watch() {
      clearTimeout(timer);
      if (stopped) return;
      timer = setTimeout(look, Math.min(Math.max(dueAt - performance.now(), 0), LOOK_EVERY));
    }

    function look() {
      if (stopped || renewing) return;
      // Set the next timer first, because `isActive` may throw.
      clearTimeout(timer);
      timer = setTimeout(look, LOOK_EVERY);
      if (isDue()) start().catch(() => {});
      else watch();
    }

    function isDue() {
      const now = instant();
      const [steady, wall] = [now.steady - asked.steady, now.wall - asked.wall];
      // The machine may have slept, or its clock may have been set. So the remaining lifetime is unknown. Ask the
      // gateway.
      if (now.steady >= dueAt || Math.abs(wall - steady) > DISAGREEMENT) return true;
      return failures === 0 && steady >= REPORT_EVERY && (worked || Boolean(isActive?.()));
    }

    /** Runs when the page becomes visible or the network returns. Shortens the pause after a failure. */
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
      client = null;
    }

    listen("addEventListener");
    watch();
    return {
      renew,
      stop,
      /** Sets the client, for a page that creates its client later. */
      attach(later) {
        client = later;
        handed = later.token;
        if (current && later.token !== current.access_token) later.updateToken(current.access_token);
      },
      get session() {
        return current;
      },
    };
  }

  return { signInUrl, signIn, session, signOut, keepFresh };
}

/** Makes the activity with this name or SID the worker's current one. */
async function setActivity(client, activity) {
  const worker = await inTime(client.getWorker());
  const wanted = [...worker.activities.values()].find(({ name, sid }) => name === activity || sid === activity);
  if (!wanted) throw new Error(`the worker has no activity ${activity}`);
  if (worker.activity?.sid !== wanted.sid) await inTime(wanted.setAsCurrent({ rejectPendingReservations: true }));
}

/** Resolves with the SDK's answer, or rejects after a timeout. A worker that never connects must not block renewals. */
function inTime(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("the SDK's worker did not answer in time")), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/**
 * When each session was requested from the gateway, and the token's lifetime at that time. These times are valid only
 * in this page, so they are not part of the session.
 */
const lifetimes = new WeakMap();

/**
 * Reads both clocks. The steady clock cannot be set, but may stop while the machine sleeps. The wall clock continues
 * during sleep, but can be set.
 */
function instant() {
  return { steady: performance.now(), wall: Date.now() };
}

/**
 * Returns the milliseconds until the token expires, even if this machine's clock has been set back. For a copy of a
 * session, calculates the time from this machine's clock and `clock_offset`.
 */
export function timeLeft(session) {
  const known = lifetimes.get(session);
  if (!known) return Date.parse(session.expires_at) - (Date.now() + (session.clock_offset ?? 0));
  const now = instant();
  return known.lifetime - Math.max(now.steady - known.asked.steady, now.wall - known.asked.wall);
}

/** Returns the time of the next renewal on the steady clock, at least 5 seconds from now. */
function nextRenewal(session) {
  const left = timeLeft(session);
  const pause = left > RENEW_BEFORE ? left - RENEW_BEFORE : left / 2;
  return performance.now() + Math.max(pause, SHORTEST_PAUSE);
}

/**
 * Returns the delay before the next attempt, in milliseconds. The delay doubles with each failure, and is random so
 * that many desktops do not retry at once. It is not shorter than Retry-After, up to LONGEST_RETRY_AFTER.
 */
function backoff(failures, retryAfter) {
  const doubling = Math.min(1_000 * 2 ** Math.min(failures, 10), LONGEST_PAUSE) * (0.5 + Math.random() / 2);
  return Math.max(doubling, Math.min(retryAfter ?? 0, LONGEST_RETRY_AFTER));
}

/**
 * Returns how many milliseconds this machine's clock is behind the gateway's clock. 0 if the `Date` header is
 * unreadable.
 */
function clockOffset(response) {
  const told = Date.parse(response.headers.get("date") ?? "");
  const offset = told - Date.now();
  // A small difference means nothing, because `Date` has whole seconds and the answer took time to arrive.
  return Number.isNaN(offset) || Math.abs(offset) < 5_000 ? 0 : offset;
}

function refusal(response, problem) {
  const known = typeof problem?.code === "string";
  return new FlexgateError({
    code: known ? problem.code : "answer_unusable",
    // An unusable body with status 200 is a failure of the gateway, so use status 502.
    status: response.ok ? 502 : response.status,
    title: known ? problem.title : "The gateway's answer could not be used",
    detail: known ? problem.detail : undefined,
    requestId: (known ? problem.request_id : null) ?? response.headers.get("x-request-id"),
    retryAfter: waitAsked(response.headers.get("retry-after")),
  });
}

/** Returns the wait in milliseconds. `Retry-After` contains seconds or a date (RFC 9110, section 10.2.3). */
function waitAsked(header) {
  if (!header) return null;
  const wait = /^\d+$/.test(header.trim()) ? Number(header) * 1_000 : Date.parse(header) - Date.now();
  return Number.isNaN(wait) ? null : Math.max(wait, 0);
}
