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
/** Timers stop while the machine sleeps. So check the clock at least this often, and do not rely on one long timer. */
const LOOK_EVERY = 30_000;
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

  /** The URL that starts a sign-in. `returnTo` is a path on the gateway's origin. */
  function signInUrl({ returnTo } = {}) {
    const query = returnTo === undefined ? "" : `?return_to=${encodeURIComponent(returnTo)}`;
    return `${base}/sso/${encodeURIComponent(profile)}/login${query}`;
  }

  /** Leaves the page to sign in. The browser comes back to `returnTo`, by default the current page. */
  function signIn({ returnTo = location.pathname + location.search + location.hash } = {}) {
    location.assign(signInUrl({ returnTo }));
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
    const response = await post("/sso/token");
    const body = await response.json().catch(() => null);
    if (response.ok && typeof body?.access_token === "string" && !Number.isNaN(Date.parse(body.expires_at))) {
      return { ...body, clock_offset: clockOffset(response) };
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
   * Keeps the token of `client` (from the SDK's createClient, or null) valid. Renews the token before it
   * expires, after sleep, and when the page becomes visible again, and passes each new token to the client
   * **and** to its worker and workspace, which `client.updateToken` alone does not update.
   *
   * `from` is the session to begin with; without it keepFresh fetches one at once. Calls `onRenew(session)` after
   * each renewal, `onTrouble(error, retryInMs)` when one failed and will be retried, and `onEnd(error)` once, when
   * renewing is over (code `reauthenticate`, `not_signed_in` or `another_user`, or a refusal that waiting cannot fix).
   * Set `taskRouter: false` if the page uses neither worker nor workspace: asking the SDK for them connects them.
   */
  function keepFresh(client, { from = null, onRenew, onTrouble, onEnd, taskRouter = true } = {}) {
    let current = from;
    let dueAt = from ? nextRenewal(from) : 0;
    let failures = 0;
    let stopped = false;
    let renewing = null;
    let timer = null;

    /** Renews now, or waits for the renewal that is running. If it fails, calls the callbacks and then rejects. */
    function renew() {
      renewing ??= attempt().finally(() => {
        renewing = null;
        watch();
      });
      return renewing;
    }

    async function attempt() {
      if (stopped) throw new FlexgateError({ code: "stopped", title: "This is no longer kept fresh" });
      try {
        const fresh = await ask();
        if (stopped) return fresh;
        if (current?.flex_user_sid !== undefined && fresh.flex_user_sid !== current.flex_user_sid) {
          // All tabs share the session cookie, so another user may have signed in through another tab. The client and
          // the worker on this page belong to the first user. They must not get the other user's token.
          const title = "Somebody else has signed in with this browser";
          throw new FlexgateError({ code: "another_user", status: 409, title });
        }
        failures = 0;
        current = fresh;
        dueAt = nextRenewal(fresh);
        await hand(fresh.access_token);
        if (!stopped) onRenew?.(fresh);
        return fresh;
      } catch (error) {
        if (stopped) throw error;
        if (error instanceof FlexgateError && !error.temporary) {
          stop();
          onEnd?.(error);
        } else {
          const pause = backoff(failures++, error.retryAfter);
          dueAt = Date.now() + pause;
          onTrouble?.(error, pause);
        }
        throw error;
      }
    }

    async function hand(token) {
      if (!client) return;
      client.updateToken(token);
      if (!taskRouter) return;
      const [worker, workspace] = await inTime(Promise.all([client.getWorker(), client.getWorkspace()]));
      worker.updateToken(token);
      workspace.updateToken(token);
    }

    /** Schedules the next check of the clock. */
    function watch() {
      clearTimeout(timer);
      if (stopped) return;
      timer = setTimeout(look, Math.min(Math.max(dueAt - Date.now(), 0), LOOK_EVERY));
    }

    function look() {
      if (stopped || renewing) return;
      if (Date.now() >= dueAt) renew().catch(() => {});
      else watch();
    }

    /** Called when the page becomes visible or the network returns. Shortens a pause after failures and checks the
     * clock. */
    function wake() {
      if (globalThis.document?.visibilityState === "hidden") return;
      if (failures > 0) dueAt = Math.min(dueAt, Date.now() + SHORTEST_PAUSE);
      look();
    }

    function listen(how) {
      globalThis.document?.[how]("visibilitychange", wake);
      globalThis.window?.[how]?.("online", wake);
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

/** Milliseconds until the token expires. Uses the gateway's clock if the session contains the offset to it. */
export function timeLeft(session, now = Date.now()) {
  return Date.parse(session.expires_at) - (now + (session.clock_offset ?? 0));
}

/** When to renew, by this machine's clock. If each new token is short-lived too, renews at most every 5 seconds. */
function nextRenewal(session) {
  const now = Date.now();
  const left = timeLeft(session, now);
  const pause = left > RENEW_BEFORE ? left - RENEW_BEFORE : left / 2;
  return now + Math.max(pause, SHORTEST_PAUSE);
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
