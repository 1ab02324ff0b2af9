/** What `POST /sso/token` answers. */
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
  /** Milliseconds this machine's clock is behind the gateway's, where that could be told. */
  clock_offset: number;
}

/** A refusal or failure. `code` is stable: `docs/status-codes.md`, or `unreachable`, `answer_unusable`, `another_user`. */
export class FlexgateError extends Error {
  readonly code: string;
  /** 0 when there was no answer. */
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly requestId: string | null;
  /** Milliseconds. */
  readonly retryAfter: number | null;
  /** Whether asking again later can help. */
  get temporary(): boolean;
}

/** The part of the SDK's client, worker and workspace that tokens are handed to. */
export interface TokenHolder {
  updateToken(token: string): void;
}
export interface FlexClient extends TokenHolder {
  readonly token: string;
  getWorker(): Promise<TokenHolder>;
  getWorkspace(): Promise<TokenHolder>;
}

export interface KeepFreshOptions {
  /** The session to begin with; without it one is fetched at once. */
  from?: Session | null;
  onRenew?(session: Session): void;
  onTrouble?(error: Error, retryInMs: number): void;
  onEnd?(error: FlexgateError): void;
  /** Default true. False for a page that uses neither worker nor workspace. */
  taskRouter?: boolean;
}

export interface Keeper {
  /** Renews now. */
  renew(): Promise<Session>;
  /** Ends it; no callback comes any more. */
  stop(): void;
  /** Begins to serve a client that was made later. */
  attach(client: FlexClient): void;
  readonly session: Session | null;
}

export interface Flexgate {
  signInUrl(options?: { returnTo?: string }): string;
  signIn(options?: { returnTo?: string }): void;
  /** Null when nobody is signed in. Rejects with a FlexgateError. */
  session(): Promise<Session | null>;
  signOut(): Promise<void>;
  keepFresh(client: FlexClient | null, options?: KeepFreshOptions): Keeper;
}

export function createFlexgate(options?: { baseUrl?: string; profile?: string; fetch?: typeof fetch }): Flexgate;

/** Milliseconds the token is good for. */
export function timeLeft(session: Session, now?: number): number;
