//! Signing in through SSO, and staying signed in.
//!
//! A login is bound to the browser that began it by one sealed cookie that holds its verifier and
//! nonce, because Twilio's `state` proves nothing. A session lives on this side: the browser holds a
//! random identifier, the store its hash and the sealed tokens. The refresh token never leaves.

mod configuration;
mod pending;
mod return_to;
mod service;
mod session;
mod state;
mod tokens;

use flexgate::secrets::SecretError;
use flexgate::store::StoreError;
use flexgate::twilio::TwilioError;
use time::Duration;

pub use return_to::ReturnTo;
pub use service::{CallbackError, SignIn, SignInParts};
pub use session::SessionError;

/// The cookie that holds the logins under way.
pub const LOGIN_COOKIE: &str = "__Host-flexgate-login";

/// The cookie that holds the session's identifier.
pub const SESSION_COOKIE: &str = "__Host-flexgate-session";

/// How long a login may take.
pub const LOGIN_LIFETIME: Duration = Duration::minutes(10);

/// How long sessions live.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// From sign-in to the end, whatever happens.
    pub absolute: Duration,
    /// Without use.
    pub idle: Duration,
}

/// What sign-in needs does not work.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Twilio.
    #[error("Twilio")]
    Twilio(#[from] TwilioError),
    /// The store.
    #[error("the store")]
    Store(#[from] StoreError),
    /// The cookie keys.
    #[error("the cookie keys")]
    Keys(#[from] SecretError),
    /// Something sealed that cannot be: a fault of ours.
    #[error("sealing failed")]
    Seal,
}
