/** The data of a `FlexgateError`. Tabs send each other this data, because an instance of a class cannot be sent. */
export interface Failure {
  code: string;
  status?: number;
  title: string;
  detail?: string | undefined;
  requestId?: string | null;
  retryAfter?: number | null;
  cause?: unknown;
}

/**
 * A refusal or a failure. `code` is stable between versions. It is one of the codes in `docs/status-codes.md`, or
 * `unreachable`, `answer_unusable`, `another_user`, `signed_out`, `activity_not_set` or `stopped`.
 */
export class FlexgateError extends Error {
  readonly code: string;
  /** 0 if there was no answer. */
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  /** Identifies the request in the gateway's log. */
  readonly requestId: string | null;
  /** The delay before the next attempt that the gateway requested, in milliseconds, or null. */
  readonly retryAfter: number | null;

  constructor({ code, status = 0, title, detail, requestId = null, retryAfter = null, cause }: Failure) {
    super(detail ? `${title}. ${detail}` : title, { cause });
    this.name = "FlexgateError";
    this.code = code;
    this.status = status;
    this.title = title;
    this.detail = detail ?? "";
    this.requestId = requestId;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later. */
  get temporary(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}
