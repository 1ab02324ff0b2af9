/** The timeout of requests to the gateway and of calls to the SDK, in milliseconds. */
export const PATIENCE = 15_000;
/** The delay in milliseconds, and the number of further attempts, if a part of the SDK is not ready for a token. */
const AGAIN_AFTER = 5_000;
const TRIES = 3;

/** A part of the SDK that accepts tokens. */
export interface TokenHolder {
  /** Replaces the token. */
  updateToken(token: string): void;
}

/** The part of the SDK's client that `keepFresh` uses. */
export interface FlexClient extends TokenHolder {
  /** The token that the client has now. */
  readonly token: string;
  /** Connects to TaskRouter, if necessary. */
  getWorker(): Promise<TokenHolder>;
  /** Connects to TaskRouter, if necessary. */
  getWorkspace(): Promise<TokenHolder>;
  /** Runs an action. */
  execute?<T>(action: { run(context: object): T }): T;
}

/** An activity of the SDK's worker. */
export interface WorkerActivity {
  /** `WA` and 32 hex digits. */
  readonly sid: string;
  /** The name in TaskRouter, such as `Offline`. */
  readonly name: string;
  /** Makes this activity the worker's current one. */
  setAsCurrent(options?: { rejectPendingReservations?: boolean }): Promise<unknown>;
}

/** The part of the SDK's worker that `signOut` uses. */
export interface SignOutWorker {
  /** The current activity, once the worker is connected. */
  readonly activity?: Pick<WorkerActivity, "sid">;
  /** All activities by SID. */
  readonly activities: ReadonlyMap<string, WorkerActivity>;
}

/** The part of the SDK's client that `signOut` uses. */
export interface SignOutClient {
  /** Connects to TaskRouter, if necessary. */
  getWorker(): Promise<SignOutWorker>;
}

type Listener = (token: string) => unknown;

/**
 * Gives the token to the client, and to every part of the SDK that keeps a token of its own. docs/front-end.md
 * describes how each version of the SDK behaves.
 */
export async function giveToken(client: FlexClient, token: string, taskRouter: boolean): Promise<void> {
  client.updateToken(token);
  const listeners = listenersOf(client);
  if (listeners) return tellListeners(client, token, listeners, TRIES);
  if (!taskRouter) return;
  const [worker, workspace] = await inTime(Promise.all([client.getWorker(), client.getWorkspace()]));
  worker.updateToken(token);
  workspace.updateToken(token);
}

/**
 * Returns the listeners with which parts of the SDK accept a new token.
 *
 * In version 3.0.0, the worker and its workspace, voice, conversations and callback media listen for `tokenUpdated` on
 * an emitter inside the client. But the client emits this event only on itself, so these parts never get the new token.
 * `execute` runs an action with a context, and through this context, an action can get the inner emitter.
 *
 * Returns null if this version of the SDK has no such context. Returns an empty list if no part is in use.
 */
function listenersOf(client: FlexClient): Listener[] | null {
  let listeners: Listener[] | null = null;
  const run = (context: object): void => {
    const { retrieveInstanceOf } = context as { retrieveInstanceOf?: (name: string, Missing: new () => object) => object };
    if (typeof retrieveInstanceOf !== "function") return;
    listeners = [];
    // If the context has no emitter yet, it calls this constructor to create one. By throwing, the constructor prevents
    // that.
    const Missing = class {
      constructor() {
        throw new RangeError();
      }
    };
    try {
      const emitter = retrieveInstanceOf.call(context, "ClientEventEmitter", Missing);
      listeners = (emitter as { listeners(event: string): Listener[] }).listeners("tokenUpdated");
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

/**
 * Calls the listeners. A listener that throws is called again, because voice cannot accept a token while its device
 * registers. After 15 seconds there are no more attempts. A part of the SDK that starts later reads the token from the
 * client.
 */
function tellListeners(client: FlexClient, token: string, listeners: Listener[], tries: number): void {
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

/** Sets the worker's current activity to the one with this name or SID. */
export async function setActivity(client: SignOutClient, activity: string): Promise<void> {
  const worker = await inTime(client.getWorker());
  const wanted = [...worker.activities.values()].find(({ name, sid }) => name === activity || sid === activity);
  if (!wanted) throw new Error(`the worker has no activity ${activity}`);
  if (worker.activity?.sid !== wanted.sid) await inTime(wanted.setAsCurrent({ rejectPendingReservations: true }));
}

/**
 * Resolves like `promise`, or rejects after a timeout. Otherwise a worker that never connects would block all renewals.
 */
function inTime<T>(promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("the SDK's worker did not answer in time")), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
