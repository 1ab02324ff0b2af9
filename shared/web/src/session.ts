/** The answer of `POST /sso/token`. */
export interface Session {
  access_token: string;
  /** RFC 3339. */
  expires_at: string;
  /** When the person signed in, and when the session ends at the latest. RFC 3339. */
  signed_in_at: string;
  session_ends_at: string;
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
