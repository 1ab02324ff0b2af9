import type { Failure } from "./error.js";
import type { Session } from "./session.js";

/**
 * A message from one tab to the others. Every page of the origin can read the token in it. This is no risk, because
 * such a page can also get the token from the gateway.
 */
export type Message =
  /** A new token from the gateway. It is valid for `left` milliseconds from the time `at` on the wall clock. */
  | { kind: "token"; session: Session; left: number; at: number }
  | { kind: "trouble"; error: Failure; pause: number }
  | { kind: "ended"; error: Failure }
  /**
   * The token must be renewed, and this tab waits for the tab that renews for all. `worked` is true if the person works
   * in this tab.
   */
  | { kind: "due"; worked: boolean };

export interface Tabs {
  /** Whether this tab renews the token for all tabs. */
  readonly leads: boolean;
  tell(message: Message): void;
  close(): void;
}

const supported = (): boolean => typeof BroadcastChannel === "function" && Boolean(globalThis.navigator?.locks);

/** Sends the message to all tabs, including this one. */
export function tellTabs(name: string, message: Message): void {
  if (!supported()) return;
  const channel = new BroadcastChannel(name);
  channel.postMessage(message);
  channel.close();
}

/**
 * Joins the tabs that share a session. The tab that holds the lock `name` renews the token for all tabs. When that tab
 * closes or crashes, the browser gives the lock to the next tab, and `onLead` is called there. Returns null if the
 * browser does not support Web Locks or BroadcastChannel. Each tab then renews the token for itself.
 */
export function joinTabs(name: string, onMessage: (message: Message) => void, onLead: () => void): Tabs | null {
  if (!supported()) return null;
  let channel: BroadcastChannel | null = null;
  let leads = false;
  let leave = (): void => {};

  function join(): void {
    const left = new AbortController();
    const opened = new BroadcastChannel(name);
    opened.addEventListener("message", ({ data }) => !left.signal.aborted && onMessage(data));
    channel = opened;
    const lead = (): void => {
      if (left.signal.aborted) return;
      leads = true;
      onLead();
    };
    navigator.locks.request(name, { signal: left.signal }, () => {
      lead();
      return new Promise<void>((resolve) => left.signal.addEventListener("abort", () => resolve(), { once: true }));
    }).catch(lead);
    leave = () => {
      left.abort();
      opened.close();
      channel = null;
      leads = false;
    };
  }

  // A page in the browser's back/forward cache must neither hold the lock nor receive messages.
  const hide = (): void => leave();
  const show = (event: Event): void => {
    if ((event as PageTransitionEvent).persisted) join();
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
    },
  };
}
