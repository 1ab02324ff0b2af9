//! Simulates Twilio Flex and a company's identity provider on localhost, down to the wire format.
//!
//! The simulator shares no code with the gateway, because the simulator tests the gateway. Its answers follow Twilio's
//! documentation, and the real Flex SDK accepts them. [`Switches`] change the behaviour that Twilio does not document.
//!
//! Scripts need only the constants below. None of them is a secret.

mod call;
mod clock;
mod control;
mod database;
mod faults;
mod gate;
mod idp;
mod in_process;
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
pub use in_process::InProcess;
pub use simulator::{Account, Config, Simulator, StartError};
pub use switches::*;

/// The only account.
pub const ACCOUNT_SID: &str = "AC00000000000000000000000000000001";
/// The account's auth token until a test rotates it. The value is obviously not a real token.
pub const AUTH_TOKEN: &str = "fa4efa4efa4efa4efa4efa4efa4efa4e";
/// The Flex instance.
pub const INSTANCE_SID: &str = "GO00000000000000000000000000000001";
/// The `TaskRouter` workspace.
pub const WORKSPACE_SID: &str = "WS00000000000000000000000000000001";
/// The default team. Every user without another team is a member of it.
pub const DEFAULT_TEAM_SID: &str = "QO00000000000000000000000000000def";
/// The SSO profile. The SSO configuration calls it `connection_name`.
pub const SSO_PROFILE_SID: &str = "JQ00000000000000000000000000000001";
/// The `client_id` of the SSO configuration. The SDK puts this value into `state`.
pub const CLIENT_ID: &str = "flexgate-simulated-sso-client";
/// The runtime domain of the account.
pub const RUNTIME_DOMAIN: &str = "https://simulated-1234.twil.io";

/// A Standard API key. It works wherever the auth token works.
pub const API_KEY_SID: &str = "SK00000000000000000000000000000001";
/// The secret of [`API_KEY_SID`].
pub const API_KEY_SECRET: &str = "fake-standard-key-secret";
/// A Restricted API key. Calls with this key fail with code 8001.
pub const RESTRICTED_KEY_SID: &str = "SK00000000000000000000000000000002";
/// The secret of [`RESTRICTED_KEY_SID`].
pub const RESTRICTED_KEY_SECRET: &str = "fake-restricted-key-secret";
/// Another account's valid API key. Calls with this key fail with 401, code 70051.
pub const FOREIGN_KEY_SID: &str = "SK00000000000000000000000000000003";
/// The secret of [`FOREIGN_KEY_SID`].
pub const FOREIGN_KEY_SECRET: &str = "fake-foreign-key-secret";
/// The owner of [`FOREIGN_KEY_SID`]. It is also the account in tokens that the simulator deliberately makes for the
/// wrong account.
pub const OTHER_ACCOUNT_SID: &str = "AC00000000000000000000000000000bad";
/// The instance in tokens that the simulator deliberately makes for the wrong instance.
pub const OTHER_INSTANCE_SID: &str = "GO00000000000000000000000000000bad";

/// The `aud` of the identity provider's access tokens.
pub const AUDIENCE: &str = "flexgate";
/// A confidential service client. It may request every scope of Flexgate.
pub const SERVICE_CLIENT_ID: &str = "demo-service";
/// The secret of [`SERVICE_CLIENT_ID`].
pub const SERVICE_CLIENT_SECRET: &str = "demo-service-secret";
/// A confidential service client. It may only read users.
pub const READER_CLIENT_ID: &str = "reader";
/// The secret of [`READER_CLIENT_ID`].
pub const READER_CLIENT_SECRET: &str = "reader-secret";
/// The public client of web pages. It needs PKCE, and may use any loopback redirect URI.
pub const PAGE_CLIENT_ID: &str = "agent-desktop";
