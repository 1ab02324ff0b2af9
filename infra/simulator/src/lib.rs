//! Simulates Twilio Flex and a company identity provider on localhost, down to the wire format.
//!
//! This crate shares no code with the gateway, so that it can test the gateway independently. Its answers follow
//! Twilio's documentation, and the real Flex SDK accepts them. Where Twilio's behaviour is not known, [`Switches`] has
//! one switch for each open question. So tests can try every plausible behaviour.
//!
//! The constants below are all that a script needs to know in order to use the simulator. None of them is a secret.

mod call;
mod clock;
mod control;
mod database;
mod faults;
mod gate;
mod idp;
mod journal;
mod lasting;
mod listener;
mod operation;
mod persist;
mod random;
mod rows;
mod seed;
mod simulator;
mod switches;
mod tls;
mod twilio;
mod web;
mod world;

pub use idp::keys::rsa_pkcs8;
pub use simulator::{Account, Config, Simulator, StartError};
pub use switches::{Deactivated, OverTtl, Reactivation, StateMember, Switches};

/// The only account.
pub const ACCOUNT_SID: &str = "AC00000000000000000000000000000001";
/// The account's auth token until a test rotates it. The value is visibly not a real Twilio token.
pub const AUTH_TOKEN: &str = "fa4efa4efa4efa4efa4efa4efa4efa4e";
/// The Flex instance.
pub const INSTANCE_SID: &str = "GO00000000000000000000000000000001";
/// The `TaskRouter` workspace.
pub const WORKSPACE_SID: &str = "WS00000000000000000000000000000001";
/// The SSO profile. In the SSO configuration, Twilio calls the same value `connection_name`.
pub const SSO_PROFILE_SID: &str = "JQ00000000000000000000000000000001";
/// The `client_id` of the SSO configuration. The SDK puts it into `state`.
pub const CLIENT_ID: &str = "flexgate-simulated-sso-client";
/// The runtime domain of the account.
pub const RUNTIME_DOMAIN: &str = "https://simulated-1234.twil.io";

/// A Standard API key. It is accepted wherever the auth token is accepted.
pub const API_KEY_SID: &str = "SK00000000000000000000000000000001";
/// The secret of [`API_KEY_SID`].
pub const API_KEY_SECRET: &str = "fake-standard-key-secret";
/// A Restricted API key. Calls with it fail with code 8001.
pub const RESTRICTED_KEY_SID: &str = "SK00000000000000000000000000000002";
/// The secret of [`RESTRICTED_KEY_SID`].
pub const RESTRICTED_KEY_SECRET: &str = "fake-restricted-key-secret";
/// A valid API key of another account. Calls with it fail with 401, code 70051.
pub const FOREIGN_KEY_SID: &str = "SK00000000000000000000000000000003";
/// The secret of [`FOREIGN_KEY_SID`].
pub const FOREIGN_KEY_SECRET: &str = "fake-foreign-key-secret";
/// The account that owns [`FOREIGN_KEY_SID`]. It is also the account in tokens that deliberately name a wrong account.
pub const OTHER_ACCOUNT_SID: &str = "AC00000000000000000000000000000bad";
/// The instance in tokens that deliberately name a wrong instance.
pub const OTHER_INSTANCE_SID: &str = "GO00000000000000000000000000000bad";

/// The `aud` of the identity provider's access tokens.
pub const AUDIENCE: &str = "flexgate";
/// A confidential service client that may request every scope of Flexgate.
pub const SERVICE_CLIENT_ID: &str = "demo-service";
/// The secret of [`SERVICE_CLIENT_ID`].
pub const SERVICE_CLIENT_SECRET: &str = "demo-service-secret";
/// A confidential service client that may only read users.
pub const READER_CLIENT_ID: &str = "reader";
/// The secret of [`READER_CLIENT_ID`].
pub const READER_CLIENT_SECRET: &str = "reader-secret";
/// The public client that web pages use. It needs PKCE, and may use any loopback redirect URI.
pub const PAGE_CLIENT_ID: &str = "agent-desktop";
