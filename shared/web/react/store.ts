import { createFlexgate, type FlexClient, type Flexgate, FlexgateError, type FlexgateOptions, type Keeper, type Session } from "../src/index.js";

/** The gateway has not told the page yet whether somebody is signed in. */
export interface CheckingState {
  /** Identifies this state. */
  status: "checking";
  /** Not known yet. */
  session: null;
  /** There is no error. */
  error: null;
}

/** Somebody is signed in. */
export interface SignedInState {
  /** Identifies this state. */
  status: "signed_in";
  /** The newest session. */
  session: Session;
  /** Why the last renewal failed, or null if it succeeded. A failed renewal is retried. */
  error: Error | null;
}

/** Nobody is signed in. */
export interface SignedOutState {
  /** Identifies this state. */
  status: "signed_out";
  /** There is no session. */
  session: null;
  /**
   * Why the session ended, for example `reauthenticate` or `signed_in_elsewhere`. Null if there is no reason to show.
   */
  error: FlexgateError | null;
}

/** The gateway refused the request or did not answer, so the page does not know whether somebody is signed in. */
export interface FailedState {
  /** Identifies this state. */
  status: "failed";
  /** Not known. */
  session: null;
  /** What went wrong. The function `reload` asks the gateway again. */
  error: Error;
}

/** What the page knows about its session. */
export type FlexgateState = CheckingState | SignedInState | SignedOutState | FailedState;

/** A client of the SDK. This interface contains only the members that `useFlexClient` uses. */
export interface DestroyableClient extends FlexClient {
  /** Disconnects every part of the client. */
  destroy(): void;
}

/** The state of a client that is being created, in the form that `React.Suspense` can wait for. */
export interface Pending<Client> {
  status: "pending" | "fulfilled" | "rejected";
  value?: Client;
  reason?: unknown;
  promise: Promise<void>;
}

/** After these codes, the person must sign in again. After any other code, the page shows a failure. */
const OVER = new Set(["not_signed_in", "reauthenticate", "signed_out", "signed_in_elsewhere", "another_user"]);
const CHECKING: FlexgateState = { status: "checking", session: null, error: null };

/** Holds the session of a page. The store stays the same when components are removed and created again. */
export class FlexgateStore {
  state = CHECKING;
  #gate: Flexgate | null = null;
  #keeper: Keeper | null = null;
  #client: Pending<DestroyableClient> | null = null;
  #users = 0;
  #started = false;
  /** The number of the current session. An answer that belongs to an earlier session is ignored. */
  #turn = 0;
  readonly #listeners = new Set<() => void>();
  readonly #options: FlexgateOptions;
  readonly #isActive: () => boolean;

  constructor(options: FlexgateOptions, isActive: () => boolean) {
    this.#options = options;
    this.#isActive = isActive;
  }

  /**
   * The client of the gateway. It is created on first use, because there is no `location` while a server renders the
   * page.
   */
  get gate(): Flexgate {
    return (this.#gate ??= createFlexgate(this.#options));
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly current = (): FlexgateState => this.state;

  /**
   * Starts to keep the session. The returned function ends that after a short delay, because React's StrictMode stops
   * and restarts every component at once, which must not end the session.
   */
  readonly start = (): (() => void) => {
    this.#users += 1;
    if (!this.#started) void this.load();
    return () => {
      this.#users -= 1;
      setTimeout(() => {
        if (this.#users > 0 || !this.#started) return;
        this.#started = false;
        this.#leave(CHECKING);
      });
    };
  };

  /** Asks the gateway who is signed in. */
  readonly load = async (): Promise<void> => {
    this.#started = true;
    this.#leave(CHECKING);
    const turn = this.#turn;
    let next: FlexgateState;
    try {
      const session = await this.gate.session();
      if (turn !== this.#turn) return;
      next = session ? { status: "signed_in", session, error: null } : { status: "signed_out", session: null, error: null };
    } catch (error) {
      if (turn !== this.#turn) return;
      next = over(error as Error);
    }
    if (next.session) this.#keep(next.session);
    this.#set(next);
  };

  readonly renew = async (): Promise<Session | null> => this.#keeper?.renew() ?? null;

  /** Returns the SDK's client for this session. Calls `create` only once for each session. */
  client<Client extends DestroyableClient>(create: (token: string) => Promise<Client>): Pending<Client> | null {
    if (this.state.status !== "signed_in") return null;
    this.#client ??= this.#make(create, this.state.session.access_token);
    return this.#client as Pending<Client>;
  }

  #make(create: (token: string) => Promise<DestroyableClient>, token: string): Pending<DestroyableClient> {
    const turn = this.#turn;
    const pending: Pending<DestroyableClient> = { status: "pending", promise: Promise.resolve() };
    pending.promise = create(token).then(
      (client) => {
        if (turn !== this.#turn) return client.destroy();
        // The token may have been renewed while the client was created. So the keeper gives the newest token to the
        // client.
        this.#keeper?.attach(client);
        Object.assign(pending, { status: "fulfilled", value: client });
      },
      (reason: unknown) => void Object.assign(pending, { status: "rejected", reason }),
    );
    return pending;
  }

  /** Creates the client again after `create` has failed. */
  readonly retryClient = (): void => {
    if (this.#client?.status !== "rejected") return;
    this.#client = null;
    this.#set({ ...this.state });
  };

  #keep(session: Session): void {
    const keeper = this.gate.keepFresh(null, { from: session, isActive: this.#isActive });
    this.#keeper = keeper;
    keeper.on("renewed", (renewed) => this.#set({ status: "signed_in", session: renewed, error: null }));
    keeper.on("trouble", ({ error }) => {
      if (keeper.session) this.#set({ status: "signed_in", session: keeper.session, error });
    });
    keeper.on("ended", (error) => this.#leave(over(error)));
  }

  #leave(next: FlexgateState): void {
    this.#turn += 1;
    this.#keeper?.stop();
    this.#client?.value?.destroy();
    this.#keeper = this.#client = null;
    this.#set(next);
  }

  #set(next: FlexgateState): void {
    this.state = next;
    for (const listener of this.#listeners) listener();
  }
}

function over(error: Error): FlexgateState {
  if (error instanceof FlexgateError && OVER.has(error.code)) return { status: "signed_out", session: null, error };
  return { status: "failed", session: null, error };
}
