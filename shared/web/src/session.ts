/** Who is signed in, and their token: the answer of `POST /sso/token`. Times are strings in RFC 3339 format, in UTC. */
export interface Session {
  /** The Flex token, for the SDK's `createClient`. Only Twilio can read it. Keep it in memory only. */
  access_token: string;
  /** When the token expires, for example `2026-01-05T09:00:00Z`. */
  expires_at: string;
  /** When the person signed in. */
  signed_in_at: string;
  /** When the session ends, unless it ends earlier. */
  session_ends_at: string;
  /** The person's identity at Twilio, such as `ada_40example_2Ecom`. */
  identity: string | null;
  /** The Flex username. */
  username: string | null;
  /** The user's roles: Flex roles (`agent`, `supervisor`, `admin`), and roles of Twilio's other products. */
  roles: string[];
  /** The Flex user: `FU` and 32 hex digits. */
  flex_user_sid: string;
  /** The worker in TaskRouter: `WK` and 32 hex digits. */
  worker_sid: string | null;
  /** The Twilio account: `AC` and 32 hex digits. */
  account_sid: string;
  /** The Flex instance: `GO` and 32 hex digits. */
  instance_sid: string;
  /** The SSO profile: `JQ` and 32 hex digits. */
  sso_profile_sid: string;
  /** How many milliseconds this machine's clock is behind the gateway's. 0 if the difference is unknown. */
  clock_offset: number;
}
