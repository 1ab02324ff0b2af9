import type { Session } from "./session.js";

/**
 * How long before expiry to renew a token, in milliseconds. The gateway returns a new token only if the old token is
 * valid for less than 5 minutes.
 */
export const RENEW_BEFORE = 4.5 * 60_000;
export const SHORTEST_PAUSE = 5_000;
const LONGEST_PAUSE = 60_000;
const LONGEST_RETRY_AFTER = 5 * 60_000;

/**
 * The same moment on both clocks. The steady clock (`performance.now()`) cannot be set, but may stop while the machine
 * sleeps. The wall clock (`Date.now()`) continues during sleep, but can be set.
 */
export interface Instant {
  steady: number;
  wall: number;
}

export function instant(): Instant {
  return { steady: performance.now(), wall: Date.now() };
}

/**
 * For each session, when this page requested it from the gateway, and how long the token was valid then. These values
 * depend on the clocks of this page, so they are not part of the session.
 */
const lifetimes = new WeakMap<Session, { asked: Instant; lifetime: number }>();

export function rememberLifetime(session: Session, asked: Instant, lifetime: number): void {
  lifetimes.set(session, { asked, lifetime });
}

/** Returns when this page requested the session. `undefined` if another page requested it. */
export function askedAt(session: Session | null): Instant | undefined {
  return session ? lifetimes.get(session)?.asked : undefined;
}

/**
 * Returns the milliseconds until the token expires, even if this machine's clock has been set back. The number is
 * negative if the token has expired. Pass the session object itself. For a copy of it, the function can use only this
 * machine's clock and `clock_offset`, so the number is wrong if the clock has been changed.
 */
export function timeLeft(session: Session): number {
  const known = lifetimes.get(session);
  if (!known) return Date.parse(session.expires_at) - (Date.now() + (session.clock_offset ?? 0));
  const now = instant();
  return known.lifetime - Math.max(now.steady - known.asked.steady, now.wall - known.asked.wall);
}

/** Returns the time of the next renewal on the steady clock. It is at least 5 seconds from now. */
export function nextRenewal(session: Session): number {
  const left = timeLeft(session);
  const pause = left > RENEW_BEFORE ? left - RENEW_BEFORE : left / 2;
  return performance.now() + Math.max(pause, SHORTEST_PAUSE);
}

/**
 * Returns the delay before the next attempt, in milliseconds. The delay doubles with each failure, and has a random
 * part, so that many desktops do not retry at the same time. It is at least as long as Retry-After, but a Retry-After
 * of more than LONGEST_RETRY_AFTER is shortened.
 */
export function backoff(failures: number, retryAfter: number | null | undefined): number {
  const doubling = Math.min(1_000 * 2 ** Math.min(failures, 10), LONGEST_PAUSE) * (0.5 + Math.random() / 2);
  return Math.max(doubling, Math.min(retryAfter ?? 0, LONGEST_RETRY_AFTER));
}
