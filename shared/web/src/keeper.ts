import { askedAt, backoff, instant, nextRenewal, rememberLifetime, RENEW_BEFORE, SHORTEST_PAUSE, timeLeft } from "./clock.js";
import { FlexgateError } from "./error.js";
import { type FlexClient, giveToken } from "./sdk.js";
import type { Session } from "./session.js";
import { joinTabs, type Message } from "./tabs.js";

/**
 * While somebody uses the page, the page requests the token at least this often, in milliseconds, so that the session
 * does not become idle. A gateway's idle limit is at least ten minutes.
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
/**
 * How long a tab waits for the tab that renews the token for all, in milliseconds. After that, the tab renews the token
 * itself.
 */
const GRACE = 4_000;
/** Browser events that show that somebody uses the page. */
const INPUTS = ["keydown", "pointerdown", "pointermove", "wheel"];

/** Options of `keepFresh`. */
export interface KeepFreshOptions {
  /** The session to begin with. Without it, `keepFresh` asks the gateway at once. */
  from?: Session | null | undefined;
  /**
   * Returns true while the person does work that `keepFresh` cannot detect, for example on a call or in another window.
   * `keepFresh` itself detects keys, the pointer and the wheel. While the person works, the session does not become
   * idle.
   */
  isActive?: (() => boolean) | undefined;
  /**
   * Whether `keepFresh` may connect the SDK's worker and workspace to TaskRouter, so that it can pass every new token to them.
   * It needs these connections only if the SDK is not version 3.x. True by default.
   */
  taskRouter?: boolean | undefined;
}

/** A renewal that failed and will be retried. */
export interface Trouble {
  /** Why the renewal failed. A `FlexgateError`, unless a part of the SDK failed. */
  error: Error;
  /** The time until the next attempt, in milliseconds. */
  retryIn: number;
}

/** The events of a keeper, and what each event passes to its listeners. */
export interface KeeperEvents {
  /** There is a new token, or a renewal has succeeded after a failure. The client already has the token. */
  renewed: Session;
  /**
   * A renewal failed and will be retried. If the gateway failed or did not answer, and the token is valid for
   * more than 4.5 minutes, the keeper emits this event only if the page has called `renew`.
   */
  trouble: Trouble;
  /**
   * The same person has signed in from another browser, and the profile allows only one sign-in at a time. `ended`
   * follows.
   */
  signed_in_elsewhere: FlexgateError;
  /**
   * The session is over, and no other event follows. The error's code says why: `reauthenticate`, `not_signed_in`,
   * `signed_out`, `signed_in_elsewhere`, `sign_in_locked`, `another_user`, or the code of another refusal.
   */
  ended: FlexgateError;
}

/** Keeps a token valid until it is stopped, or the session ends. */
export interface Keeper {
  /** Calls the listener for each event of this name. The returned function removes the listener. */
  on<Name extends keyof KeeperEvents>(name: Name, listener: (event: KeeperEvents[Name]) => void): () => void;
  /**
   * Renews now, or waits for the renewal that is in progress. If the renewal fails, emits `trouble` or `ended`, and
   * then rejects with the error. After the keeper has stopped, rejects with the code `stopped`.
   */
  renew(): Promise<Session>;
  /** Stops renewing. The keeper then emits no more events. */
  stop(): void;
  /** Sets the client, if the page did not pass one to `keepFresh`. */
  attach(client: FlexClient): void;
  /** The newest session, or null before the first answer. */
  readonly session: Session | null;
}

export function keepFresh(
  ask: () => Promise<Session>,
  name: string,
  client: FlexClient | null,
  { from = null, isActive, taskRouter = true }: KeepFreshOptions = {},
): Keeper {
  const listeners = new Map<keyof KeeperEvents, Set<(event: never) => void>>();
  let current = from;
  /** The token that the client has. */
  let handed = client?.token;
  /** When this tab or another tab last requested the token from the gateway. */
  let asked = askedAt(from) ?? instant();
  /** When to renew the token, as a value of `performance.now()`. */
  let dueAt = from ? nextRenewal(from) : 0;
  /** When this tab began to wait for the tab that renews the token, as a value of `performance.now()`. */
  let waitingSince: number | null = null;
  let failures = 0;
  let worked = false;
  let wanted = false;
  let stopped = false;
  let renewing: Promise<Session> | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tabs = joinTabs(name, hear, () => look());

  function emit<Name extends keyof KeeperEvents>(name: Name, event: KeeperEvents[Name]): void {
    for (const listener of listeners.get(name) ?? []) {
      try {
        (listener as (event: KeeperEvents[Name]) => void)(event);
      } catch (error) {
        // An error in a listener must not stop the renewals. The browser reports the error in the console.
        void Promise.reject(error);
      }
    }
  }

  function start(): Promise<Session> {
    renewing ??= attempt().finally(() => {
      renewing = null;
      wanted = false;
      watch();
    });
    return renewing;
  }

  async function attempt(): Promise<Session> {
    if (stopped) throw new FlexgateError({ code: "stopped", title: "This is no longer kept fresh" });
    noteAsked();
    try {
      const fresh = await ask();
      if (stopped) return fresh;
      tellToken(fresh);
      await take(fresh);
      return fresh;
    } catch (error) {
      if (!stopped) failed(error as Error, true);
      throw error;
    }
  }

  function noteAsked(): void {
    asked = instant();
    worked = false;
    waitingSince = null;
  }

  function tellToken(session: Session): void {
    tabs?.tell({ kind: "token", session, left: timeLeft(session), at: Date.now() });
  }

  /** Uses this session from now on, and gives its token to the client. */
  async function take(fresh: Session): Promise<void> {
    if (current?.flex_user_sid !== undefined && fresh.flex_user_sid !== current.flex_user_sid) {
      // Another user has signed in through another tab, because all tabs share the session cookie. This page's client
      // belongs to the first user and must not get another user's token.
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

  /**
   * Handles a failed renewal. `own` is true if this tab made the request, so that the other tabs must be told of the
   * failure.
   */
  function failed(error: Error, own: boolean): void {
    if (error instanceof FlexgateError && !error.temporary) {
      // Other tabs may belong to the new user, so they must not end.
      if (own && error.code !== "another_user") tabs?.tell({ kind: "ended", error: plain(error) });
      return end(error);
    }
    const pause = backoff(failures, error instanceof FlexgateError ? error.retryAfter : null);
    if (own && error instanceof FlexgateError) tabs?.tell({ kind: "trouble", error: plain(error), pause });
    postpone(error, pause);
  }

  function postpone(error: Error, pause: number): void {
    failures += 1;
    dueAt = performance.now() + pause;
    if (matters(error)) emit("trouble", { error, retryIn: pause });
  }

  function end(error: FlexgateError): void {
    stop();
    if (error.code === "signed_in_elsewhere") emit("signed_in_elsewhere", error);
    emit("ended", error);
  }

  /**
   * Whether to report a failure to the page. A temporary failure of the gateway is not reported while the token is
   * valid for more than 4.5 minutes, unless the page has called `renew`.
   */
  function matters(error: Error): boolean {
    return wanted || !(error instanceof FlexgateError) || !current || timeLeft(current) <= RENEW_BEFORE;
  }

  /** Handles a message from another tab. */
  function hear(message: Message): void {
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

  function adopt({ session, left, at }: Message & { kind: "token" }): void {
    // An old message may arrive late, for example after sleep.
    if (current && session.flex_user_sid === current.flex_user_sid && Date.parse(session.expires_at) < Date.parse(current.expires_at)) return;
    rememberLifetime(session, asked, left - Math.max(Date.now() - at, 0));
    take(session).catch((error: Error) => {
      if (!stopped) failed(error, false);
      watch();
    });
  }

  /** Schedules the next check of the clocks. */
  function watch(): void {
    clearTimeout(timer);
    if (!stopped) timer = setTimeout(look, Math.min(Math.max(dueAt - performance.now(), 0), LOOK_EVERY));
  }

  function look(): void {
    if (stopped || renewing) return;
    // Set the next timer first, because `isActive` may throw.
    clearTimeout(timer);
    timer = setTimeout(look, LOOK_EVERY);
    if (!isDue()) watch();
    else if (mayAsk()) start().catch(() => {});
    else tabs?.tell({ kind: "due", worked });
  }

  function isDue(): boolean {
    const now = instant();
    const [steady, wall] = [now.steady - asked.steady, now.wall - asked.wall];
    // If the clocks disagree, the machine has slept or its clock has been set. The token's remaining lifetime is then
    // unknown, so request the token from the gateway.
    if (now.steady >= dueAt || Math.abs(wall - steady) > DISAGREEMENT) return true;
    worked ||= steady >= REPORT_EVERY && Boolean(isActive?.());
    return failures === 0 && steady >= REPORT_EVERY && worked;
  }

  /**
   * Whether this tab may request the token itself: if it renews for all tabs, if it has no token, or if the tab that
   * renews for all does not respond in time.
   */
  function mayAsk(): boolean {
    if (!tabs || tabs.leads || !current || (client && handed !== current.access_token)) return true;
    waitingSince ??= performance.now();
    return performance.now() - waitingSince >= GRACE;
  }

  /**
   * Runs when the page becomes visible or the network returns. After a failure, this shortens the delay before the next
   * attempt.
   */
  function wake(): void {
    if (globalThis.document?.visibilityState === "hidden") return;
    if (failures > 0) dueAt = Math.min(dueAt, performance.now() + SHORTEST_PAUSE);
    look();
  }

  function work(): void {
    worked = true;
  }

  function listen(how: "addEventListener" | "removeEventListener"): void {
    globalThis.document?.[how]("visibilitychange", wake);
    for (const event of ["online", "pageshow"]) globalThis.window?.[how]?.(event, wake);
    for (const event of INPUTS) globalThis.window?.[how]?.(event, work, { capture: true, passive: true });
  }

  function stop(): void {
    stopped = true;
    clearTimeout(timer);
    listen("removeEventListener");
    tabs?.close();
    client = null;
  }

  listen("addEventListener");
  watch();
  // Tell the other tabs about this session, because its token may be newer than theirs, or may belong to another
  // person.
  if (from) tellToken(from);
  return {
    on(name, listener) {
      const those = listeners.get(name) ?? new Set();
      listeners.set(name, those.add(listener));
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
    },
  };
}

/** Returns the data that another tab needs to create the same error. */
function plain({ code, status, title, detail, requestId, retryAfter }: FlexgateError) {
  return { code, status, title, detail, requestId, retryAfter };
}
