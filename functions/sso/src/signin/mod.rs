//! Signing in through SSO, and staying signed in.
//!
//! One sealed cookie binds a login to the browser that began it. The cookie holds the login's verifier and nonce,
//! because Twilio's `state` does not prove which browser began the login. Flexgate keeps sessions on the server: the
//! browser holds only a random identifier, and the store holds its hash and the sealed tokens. The refresh token never
//! leaves Flexgate.

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

/// The cookie that holds the pending logins.
pub const LOGIN_COOKIE: &str = "__Host-flexgate-login";

/// The cookie that holds the session's identifier.
pub const SESSION_COOKIE: &str = "__Host-flexgate-session";

/// How long a login may take.
pub const LOGIN_LIFETIME: Duration = Duration::minutes(10);

/// How long sessions live.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// The longest time from sign-in to the end of a session, regardless of use.
    pub absolute: Duration,
    /// The time without use after which a session ends.
    pub idle: Duration,
}

/// A dependency of sign-in fails.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Twilio fails.
    #[error("Twilio")]
    Twilio(#[from] TwilioError),
    /// The store fails.
    #[error("the store")]
    Store(#[from] StoreError),
    /// The cookie keys cannot be read.
    #[error("the cookie keys")]
    Keys(#[from] SecretError),
    /// Sealing failed, which is a bug in Flexgate.
    #[error("sealing failed")]
    Seal,
}
