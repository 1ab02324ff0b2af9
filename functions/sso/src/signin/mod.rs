//! Sign-in through SSO, and sessions.
//!
//! An encrypted cookie ties a login to the browser that began it, because Twilio's `state` alone does not prove which
//! browser that was. The login's PKCE verifier and nonce are derived from the login's number.
//!
//! The store contains the sessions, with encrypted tokens. The browser gets only a session's random identifier.

mod admit;
mod configuration;
mod login;
mod pending;
mod policy;
mod return_to;
mod service;
mod session;
mod state;
mod tokens;
mod visitor;

use flexgate::secrets::SecretError;
use flexgate::store::StoreError;
use flexgate::twilio::TwilioError;
use time::Duration;

pub use login::{CallbackError, Completed, Decline, Failed, Prompt};
pub use pending::LoginCookie;
pub use policy::{LONGEST, Lifetimes, SHORTEST, SHORTEST_IDLE, SessionPolicies, WrittenPolicies};
pub use return_to::{Destinations, ReturnTo};
pub use service::{SignIn, SignInParts};
pub use session::SessionError;
pub use state::LoginId;
pub use visitor::{StoredAddress, Visitor, browser_family};

/// Twilio's error code for a mistake in the SSO settings of the Console.
const SSO_SETTINGS: u32 = 70251;

/// The start of a login cookie's name. The login's number follows.
pub const LOGIN_COOKIE: &str = "__Host-flexgate-login-";

/// The name of the session cookie. The cookie's value is the session's identifier.
pub const SESSION_COOKIE: &str = "__Host-flexgate-session";

/// The maximum duration of a login.
pub const LOGIN_LIFETIME: Duration = Duration::minutes(10);

/// Why this client cannot sign in or get a token with this profile, whoever the person is.
#[derive(Debug, thiserror::Error)]
pub enum NotAllowed {
    /// An operator has stopped all sign-ins and the issuing of tokens.
    #[error("an operator has locked the sign-in")]
    Locked,
    /// The profile's policy does not allow the client's network.
    #[error("the profile does not allow the client's network")]
    Network,
    #[error("sign-in is not possible")]
    Fault(#[from] Fault),
}

/// A dependency of sign-in fails.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("Twilio")]
    Twilio(#[from] TwilioError),
    #[error("the store")]
    Store(#[from] StoreError),
    /// The cookie keys cannot be read.
    #[error("the cookie keys")]
    Keys(#[from] SecretError),
    /// Encryption failed, which is a bug in Flexgate.
    #[error("sealing failed")]
    Seal,
}
