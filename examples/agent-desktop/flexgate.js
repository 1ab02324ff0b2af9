/**
 * Flexgate for front ends: sign in, get the Flex token, keep it fresh, sign out.
 *
 * It has no dependencies and uses no storage: the token stays in the memory of the page that asked for it,
 * and the refresh token never leaves the gateway. Works in browsers and in Node 20.
 */

/** The gateway refreshes a token that is valid for less than 5 more minutes. So ask for a new one half a minute
 * later. */
const RENEW_BEFORE = 4.5 * 60_000;
/** The timeout of every request. */
const PATIENCE = 15_000;
/** While somebody works on the page, ask for the token at least this often, because a session that nobody uses ends. The
 * gateway accepts no idle limit (FLEXGATE_SESSION_IDLE_SECONDS) shorter than ten minutes. */
const REPORT_EVERY = 4 * 60_000;
/** Timers stop while the machine sleeps. So check the clocks this often, and do not rely on one long timer. */
const LOOK_EVERY = 5_000;
/** If the two clocks disagree by more than this about how much time has passed, the machine has slept, or somebody has
 * set its clock. */
const DISAGREEMENT = 5_000;
/** The events that show that somebody works on the page. */
const INPUTS = ["keydown", "pointerdown", "pointermove", "wheel"];
const SHORTEST_PAUSE = 5_000;
const LONGEST_PAUSE = 60_000;
const LONGEST_RETRY_AFTER = 5 * 60_000;

/** A refusal or a failure. Base decisions on `code`, which never changes. Search the gateway's log for `requestId`. */
export class FlexgateError extends Error {
  constructor({ code, status = 0, title, detail, requestId = null, retryAfter = null, cause }) {
    super(detail ? `${title}. ${detail}` : title, { cause });
    this.name = "FlexgateError";
    this.code = code;
    this.status = status;
    this.title = title;
    this.detail = detail ?? "";
    this.requestId = requestId;
    /** How many milliseconds to wait before the next try, if the gateway asked for a wait. */
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later. */
  get temporary() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/**
 * A client of the gateway at `baseUrl` that signs in through `profile`. If the page's origin isn't the gateway's,
 * FLEXGATE_ALLOWED_ORIGINS must list it.
 */
export function createFlexgate({ baseUrl = globalThis.location?.origin, profile = "default", fetch = globalThis.fetch } = {}) {
  if (!baseUrl) throw new TypeError("createFlexgate needs a baseUrl where there is no location");
  const base = String(baseUrl).replace(/\/+$/, "");

  /** The URL that starts a sign-in. `returnTo` is a path on the gateway's origin or a URL on an allowed origin. `prompt`
   * asks the identity provider to let the person choose another account. */
  function signInUrl({ returnTo, prompt } = {}) {
    const query = Object.entries({ return_to: returnTo, prompt })
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
    return `${base}/sso/${encodeURIComponent(profile)}/login${query.length > 0 ? "?" : ""}${query.join("&")}`;
  }

  /** Leaves the page to sign in. The browser comes back to `returnTo`, by default the current page. */
  function signIn({ returnTo = here(), prompt } = {}) {
    location.assign(signInUrl({ returnTo, prompt }));
  }

  /** The current page: its path, or its whole URL if the gateway has another origin. */
  function here() {
    const { href, origin, pathname, search, hash } = location;
    return new URL(base, href).origin === origin ? pathname + search + hash : href;
  }

  /** Returns the token and its user. Null if nobody is signed in. The gateway refreshes a token that expires soon. */
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

  /** Ends the session. Tokens that were issued stay valid until they expire, so the page must forget its token. */
  async function signOut() {
    const response = await post("/sso/logout");
    if (!response.ok) throw refusal(response, await response.json().catch(() => null));
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
   * Keeps the token of `client` (from the SDK's createClient, or null) valid. Renews the token before it expires, at
   * once after sleep, and when the page becomes visible again. Passes each new token to the client **and** to its
   * worker and workspace, which `client.updateToken` alone does not update.
   *
   * It also keeps the session from becoming idle while somebody works: on the page (keys, pointer, wheel), or in a way
   * that the page cannot see, if `isActive()` says so, such as in a call.
   *
   * `from` is the session to begin with; without it keepFresh fetches one at once. Calls `onRenew(session)` with each
   * new token, and when a retry succeeds. Calls `onTrouble(error, retryInMs)` when a renewal failed and will be retried
   * (but not while the token is valid for longer and nobody called `renew`). Calls `onEnd(error)` once, when renewing is
   * over (code `reauthenticate`, `not_signed_in` or `another_user`, or a refusal that waiting cannot fix).
   * Set `taskRouter: false` if the page uses neither worker nor workspace: asking the SDK for them connects them.
   */
  function keepFresh(client, { from = null, onRenew, onTrouble, onEnd, isActive, taskRouter = true } = {}) {
    let current = from;
    /** The token that the client, its worker and its workspace have. */
    let handed = client?.token;
    /** When the gateway was last asked. */
    let asked = lifetimes.get(from)?.asked ?? instant();
    /** When to renew, on the clock `performance.now()`. */
    let dueAt = from ? nextRenewal(from) : 0;
    let failures = 0;
    let worked = false;
    let wanted = false;
    let stopped = false;
    let renewing = null;
    let timer = null;

    /** Renews now, or waits for the renewal that is running. If it fails, calls the callbacks and then rejects. */
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
          // All tabs share the session cookie, so another user may have signed in through another tab. The client and
          // the worker on this page belong to the first user. They must not get the other user's token.
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

    /** Whether the page should know of a failure. A gateway that is away for a moment harms nobody while the token is
     * good. */
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
      // Schedule the next check first, because `isActive` may throw.
      clearTimeout(timer);
      timer = setTimeout(look, LOOK_EVERY);
      if (isDue()) start().catch(() => {});
      else watch();
    }

    function isDue() {
      const now = instant();
      const [steady, wall] = [now.steady - asked.steady, now.wall - asked.wall];
      // After sleep, or with a clock that somebody has set, nobody here knows how much time has passed. The gateway does.
      if (now.steady >= dueAt || Math.abs(wall - steady) > DISAGREEMENT) return true;
      return failures === 0 && steady >= REPORT_EVERY && (worked || Boolean(isActive?.()));
    }

    /** Called when the page becomes visible or the network returns. Shortens a pause after failures and checks the
     * clocks. */
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
      /** Sets the client, for a page that creates it later. */
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

/** Resolves with the SDK's answer, or rejects after a timeout, because a worker that never connects must not block
 * renewals. */
function inTime(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("the SDK's worker did not answer in time")), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** For each session from this module, when the gateway was asked for it, and how long the token was valid then. Kept
 * outside the session, because the times mean nothing in another page. */
const lifetimes = new WeakMap();

/** The present on two clocks. Nobody can set the steady clock, but it may stop while the machine sleeps. The wall clock
 * includes sleep, but can be set. */
function instant() {
  return { steady: performance.now(), wall: Date.now() };
}

/**
 * Milliseconds until the token expires. Setting this machine's clock back does not change it. A copy of a session counts
 * by this machine's clock, corrected by `clock_offset`.
 */
export function timeLeft(session) {
  const known = lifetimes.get(session);
  if (!known) return Date.parse(session.expires_at) - (Date.now() + (session.clock_offset ?? 0));
  const now = instant();
  return known.lifetime - Math.max(now.steady - known.asked.steady, now.wall - known.asked.wall);
}

/** When to renew, on the steady clock. If each new token is short-lived too, renews at most every 5 seconds. */
function nextRenewal(session) {
  const left = timeLeft(session);
  const pause = left > RENEW_BEFORE ? left - RENEW_BEFORE : left / 2;
  return performance.now() + Math.max(pause, SHORTEST_PAUSE);
}

/**
 * Exponential backoff, with jitter so that a thousand desktops don't retry at once. Never shorter than Retry-After,
 * of which it respects at most LONGEST_RETRY_AFTER.
 */
function backoff(failures, retryAfter) {
  const doubling = Math.min(1_000 * 2 ** Math.min(failures, 10), LONGEST_PAUSE) * (0.5 + Math.random() / 2);
  return Math.max(doubling, Math.min(retryAfter ?? 0, LONGEST_RETRY_AFTER));
}

/** How far this machine's clock is behind the gateway's. 0 if the clocks agree or the `Date` header cannot be read. */
function clockOffset(response) {
  const told = Date.parse(response.headers.get("date") ?? "");
  const offset = told - Date.now();
  // Ignore a small difference between the two clocks. The header `Date` has only whole seconds, and the answer needed
  // time to arrive.
  return Number.isNaN(offset) || Math.abs(offset) < 5_000 ? 0 : offset;
}

function refusal(response, problem) {
  const known = typeof problem?.code === "string";
  return new FlexgateError({
    code: known ? problem.code : "answer_unusable",
    // If an answer with status 200 has an unusable body, the gateway has failed, so report status 502.
    status: response.ok ? 502 : response.status,
    title: known ? problem.title : "The gateway's answer could not be used",
    detail: known ? problem.detail : undefined,
    requestId: (known ? problem.request_id : null) ?? response.headers.get("x-request-id"),
    retryAfter: waitAsked(response.headers.get("retry-after")),
  });
}

/** The wait in milliseconds from `Retry-After`, which gives seconds or a date (RFC 9110, section 10.2.3). */
function waitAsked(header) {
  if (!header) return null;
  const wait = /^\d+$/.test(header.trim()) ? Number(header) * 1_000 : Date.parse(header) - Date.now();
  return Number.isNaN(wait) ? null : Math.max(wait, 0);
}
