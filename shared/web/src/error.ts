/** The data of a `FlexgateError`. Tabs send each other this data, because an instance of a class cannot be sent. */
export interface Failure {
  /** Identifies the kind of failure, such as `unreachable`. */
  code: string;
  /** The HTTP status. The default, 0, means that there was no answer. */
  status?: number;
  /** One sentence about the kind of failure, without a full stop. */
  title: string;
  /** What happened in this case, or what to do about it. */
  detail?: string | undefined;
  /** Identifies the request in the gateway's log: 32 hex digits. */
  requestId?: string | null;
  /** How long the gateway asks the page to wait before the next attempt, in milliseconds. */
  retryAfter?: number | null;
  /** The error that caused this one. */
  cause?: unknown;
}

/**
 * A refusal by the gateway, or a failure. The message consists of the title and the detail.
 *
 * | `code` that only the package uses | meaning |
 * |---|---|
 * | `unreachable` | the request failed, or there was no answer within 15 seconds |
 * | `answer_unusable` | the package cannot use the answer, for example because a proxy sent it |
 * | `another_user` | somebody else has signed in from another tab |
 * | `activity_not_set` | `signOut` ended the session, but could not set the worker's activity |
 * | `signed_out` | somebody has signed out in this browser |
 * | `stopped` | the keeper has been stopped, or has ended |
 */
export class FlexgateError extends Error {
  /**
   * One of the gateway's codes (docs/status-codes.md), or a code from the table above. Codes never change between
   * versions.
   */
  readonly code: string;
  /** The HTTP status, or 0 if there was no answer. */
  readonly status: number;
  /** One sentence about the kind of failure. */
  readonly title: string;
  /** What happened in this case, or an empty text. */
  readonly detail: string;
  /** Identifies the request in the gateway's log: 32 hex digits, or null if there was no answer. */
  readonly requestId: string | null;
  /**
   * How long the gateway asks the page to wait before the next attempt, in milliseconds. Null if the gateway asks for no
   * delay.
   */
  readonly retryAfter: number | null;

  /**
   * Makes an error. The tests of a page can use this.
   *
   * @param failure - What the error says.
   */
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

  /** Whether the same request may succeed later. True if there was no answer, or if the status was 429 or at least 500. */
  get temporary(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}
