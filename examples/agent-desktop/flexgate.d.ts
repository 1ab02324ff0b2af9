/** The answer of `POST /sso/token`. */
export interface Session {
  access_token: string;
  /** RFC 3339. */
  expires_at: string;
  identity: string | null;
  username: string | null;
  roles: string[];
  flex_user_sid: string;
  worker_sid: string | null;
  account_sid: string;
  instance_sid: string;
  sso_profile_sid: string;
  /** Milliseconds that this machine's clock is behind the gateway's; 0 if unknown. */
  clock_offset: number;
}

/**
 * A refusal or failure. `code` is stable: one of `docs/status-codes.md`, or `unreachable`, `answer_unusable`,
 * `another_user`, `activity_not_set` or `stopped`.
 */
export class FlexgateError extends Error {
  readonly code: string;
  /** 0 if there was no answer. */
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly requestId: string | null;
  /** Milliseconds. */
  readonly retryAfter: number | null;
  /** Whether asking again later can help. */
  get temporary(): boolean;
}

/** The part of the SDK's client, worker and workspace that accepts tokens. */
export interface TokenHolder {
  updateToken(token: string): void;
}
export interface FlexClient extends TokenHolder {
  readonly token: string;
  getWorker(): Promise<TokenHolder>;
  getWorkspace(): Promise<TokenHolder>;
}

/** The part of the SDK's client that sets the worker's activity. */
export interface SignOutClient {
  getWorker(): Promise<{
    readonly activity?: { readonly sid: string };
    readonly activities: ReadonlyMap<
      string,
      { readonly sid: string; readonly name: string; setAsCurrent(options?: { rejectPendingReservations?: boolean }): Promise<unknown> }
    >;
  }>;
}

export interface KeepFreshOptions {
  /** The session to begin with; without it keepFresh fetches one at once. */
  from?: Session | null;
  /** Called with each new token, and when a retry succeeds. */
  onRenew?(session: Session): void;
  /**
   * Called when a renewal failed and will be retried. If only the gateway did not answer, and the token is valid for more
   * than 4.5 minutes, it is called only if the page called `renew`.
   */
  onTrouble?(error: Error, retryInMs: number): void;
  onEnd?(error: FlexgateError): void;
  /**
   * Whether somebody works in a way that the page cannot see: in a call, or in another window. Keys, the pointer and the
   * wheel on the page count as work anyway. While somebody works, the session does not become idle.
   */
  isActive?(): boolean;
  /** Default true. Set it to false if the page uses neither worker nor workspace. */
  taskRouter?: boolean;
}

export interface Keeper {
  /** Renews now. */
  renew(): Promise<Session>;
  /** Stops renewing; no callback is called afterwards. */
  stop(): void;
  /** Sets the client, for a page that creates it later. */
  attach(client: FlexClient): void;
  readonly session: Session | null;
}

export interface SignInOptions {
  /** A path on the gateway's origin, or a URL on an allowed origin. `signIn` takes the current page by default. */
  returnTo?: string;
  /** Asks the identity provider to let the person choose another account, or to ask for the password again. */
  prompt?: "login" | "select_account";
}

export interface Flexgate {
  signInUrl(options?: SignInOptions): string;
  signIn(options?: SignInOptions): void;
  /** Resolves with null if nobody is signed in. Rejects with a FlexgateError. */
  session(): Promise<Session | null>;
  /** Sets the worker's activity (a name or a SID) first, if `client` and `activity` are given. */
  signOut(client?: SignOutClient | null, options?: { activity?: string }): Promise<void>;
  keepFresh(client: FlexClient | null, options?: KeepFreshOptions): Keeper;
}

export function createFlexgate(options?: { baseUrl?: string; profile?: string; fetch?: typeof fetch }): Flexgate;

/** Milliseconds until the token expires, even if this machine's clock is wrong or set meanwhile. */
export function timeLeft(session: Session): number;
