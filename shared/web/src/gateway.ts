import { instant, rememberLifetime } from "./clock.js";
import { FlexgateError } from "./error.js";
import { keepFresh, type Keeper, type KeepFreshOptions } from "./keeper.js";
import { PATIENCE, setActivity, type FlexClient, type SignOutClient } from "./sdk.js";
import type { Session } from "./session.js";
import { tellTabs } from "./tabs.js";

/** How to sign in. */
export interface SignInOptions {
  /** A path on the gateway's origin, or a URL on an allowed origin. By default, `signIn` uses the current page. */
  returnTo?: string | undefined;
  /**
   * `select_account` asks the identity provider to let the person choose an account. `login` asks it to request the
   * password again.
   */
  prompt?: "login" | "select_account" | undefined;
}

/** Where the gateway is, and how to reach it. */
export interface FlexgateOptions {
  /** The gateway's address, such as `https://gate.example.com`. The page's own origin by default. */
  baseUrl?: string | undefined;
  /** The name of the SSO profile in the gateway's settings. If it is not set, the profile is `default`. */
  profile?: string | undefined;
  /** Sends the requests. The global `fetch` by default. */
  fetch?: typeof globalThis.fetch | undefined;
}

/** A client of the gateway, for one SSO profile. */
export interface Flexgate {
  /** Returns the URL that starts a sign-in, for a link or a new window. */
  signInUrl(options?: SignInOptions): string;
  /** Opens the sign-in in this tab. Afterwards the browser returns to `returnTo`, by default the current page. */
  signIn(options?: SignInOptions): void;
  /**
   * Asks the gateway who is signed in. Resolves with null if nobody is. Rejects with a `FlexgateError` if the gateway
   * refuses for another reason, or does not answer within 15 seconds.
   */
  session(): Promise<Session | null>;
  /**
   * Ends the session in every tab. In each tab, the keeper (see `keepFresh`) emits `ended` with the code
   * `signed_out`. The page must discard its token, because the token stays valid until it expires.
   *
   * If `activity` is set (to a name such as "Offline", or a SID), `signOut` first sets the worker's activity through
   * the SDK's `client`, and rejects pending reservations, so that no task goes to somebody who has left. If that fails,
   * `signOut` still ends the session, but rejects with the code `activity_not_set`. If `signOut` rejects with any other
   * code, the person might still be signed in.
   */
  signOut(client?: SignOutClient | null, options?: { activity?: string | undefined }): Promise<void>;
  /**
   * Keeps the token of `client` valid. `client` comes from the SDK's `createClient`. If the page creates its client
   * later, pass null here, and pass the client to the keeper's `attach`.
   */
  keepFresh(client: FlexClient | null, options?: KeepFreshOptions): Keeper;
}

/**
 * Creates a client of the gateway at `baseUrl`, for the SSO profile `profile`. If the page's origin differs from the
 * gateway's, FLEXGATE_ALLOWED_ORIGINS must contain the page's origin. Outside a page, for example in Node, there is no
 * default for `baseUrl`, and the function throws a `TypeError` without it.
 *
 * @param options - Where the gateway is, and how to reach it.
 */
export function createFlexgate({
  baseUrl = globalThis.location?.origin,
  profile = "default",
  fetch = globalThis.fetch,
}: FlexgateOptions = {}): Flexgate {
  if (!baseUrl) throw new TypeError("createFlexgate needs a baseUrl where there is no location");
  const base = String(baseUrl).replace(/\/+$/, "");
  /** All tabs that use this gateway share one session. They coordinate through a lock and a channel with this name. */
  const tabs = `flexgate ${base}`;

  function signInUrl({ returnTo, prompt }: SignInOptions = {}): string {
    const query = Object.entries({ return_to: returnTo, prompt })
      .flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`]));
    return `${base}/sso/${encodeURIComponent(profile)}/login${query.length > 0 ? "?" : ""}${query.join("&")}`;
  }

  /** Returns the current page's path, or its whole URL if the gateway has another origin. */
  function here(): string {
    const { href, origin, pathname, search, hash } = location;
    return new URL(base, href).origin === origin ? pathname + search + hash : href;
  }

  async function ask(): Promise<Session> {
    const asked = instant();
    const response = await post("/sso/token");
    const body = await response.json().catch(() => null);
    if (response.ok && typeof body?.access_token === "string" && !Number.isNaN(Date.parse(body.expires_at))) {
      const session: Session = { ...body, clock_offset: clockOffset(response) };
      const told = Date.parse(response.headers.get("date") ?? "");
      rememberLifetime(session, asked, Date.parse(body.expires_at) - (Number.isNaN(told) ? asked.wall : told));
      return session;
    }
    throw refusal(response, response.ok ? null : body);
  }

  async function post(path: string): Promise<Response> {
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
      let cause: unknown;
      if (client && activity !== undefined) await setActivity(client, activity).catch((error) => (cause = error));
      const response = await post("/sso/logout");
      if (!response.ok) throw refusal(response, await response.json().catch(() => null));
      tellTabs(tabs, { kind: "ended", error: { code: "signed_out", status: 401, title: "Somebody signed out in this browser" } });
      if (cause) {
        const title = "You are signed out, but your activity was not set";
        throw new FlexgateError({ code: "activity_not_set", title, detail: "You may still get tasks.", cause });
      }
    },
    keepFresh: (client, options) => keepFresh(ask, tabs, client, options),
  };
}

/**
 * Returns how many milliseconds this machine's clock is behind the gateway's clock. 0 if the `Date` header is
 * unreadable.
 */
function clockOffset(response: Response): number {
  const told = Date.parse(response.headers.get("date") ?? "");
  const offset = told - Date.now();
  // A small difference means nothing, because `Date` has whole seconds and the answer took time to arrive.
  return Number.isNaN(offset) || Math.abs(offset) < 5_000 ? 0 : offset;
}

interface Problem {
  code: string;
  title: string;
  detail?: string;
  request_id?: string;
}

function refusal(response: Response, problem: Problem | null): FlexgateError {
  const known = typeof problem?.code === "string" ? problem : null;
  return new FlexgateError({
    code: known?.code ?? "answer_unusable",
    // An unusable body with status 200 is a failure of the gateway, so use status 502.
    status: response.ok ? 502 : response.status,
    title: known?.title ?? "The gateway's answer could not be used",
    detail: known?.detail,
    requestId: known?.request_id ?? response.headers.get("x-request-id"),
    retryAfter: waitAsked(response.headers.get("retry-after")),
  });
}

/** Returns the requested delay in milliseconds. `Retry-After` contains seconds or a date (RFC 9110, section 10.2.3). */
function waitAsked(header: string | null): number | null {
  if (!header) return null;
  const wait = /^\d+$/.test(header.trim()) ? Number(header) * 1_000 : Date.parse(header) - Date.now();
  return Number.isNaN(wait) ? null : Math.max(wait, 0);
}
