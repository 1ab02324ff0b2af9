//! Signing in through SSO, and staying signed in.
//!
//! An encrypted cookie binds a login to the browser that began it. The login's PKCE verifier and nonce are derived from
//! the cookie's key and the login's number. Twilio's `state` is not enough for this, because it does not prove which
//! browser began the login.
//!
//! Flexgate keeps sessions on the server. The browser has only a random identifier. The store has the identifier's hash
//! and the encrypted tokens. The refresh token never leaves Flexgate.

mod admit;
mod configuration;
mod login;
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

pub use login::{CallbackError, Completed, Failed, Prompt};
pub use pending::LoginCookie;
pub use return_to::{Destinations, ReturnTo};
pub use service::{SignIn, SignInParts};
pub use session::SessionError;
pub use state::LoginId;

/// The names of the login cookies begin with this. The number of the login follows.
pub const LOGIN_COOKIE: &str = "__Host-flexgate-login-";

/// The cookie that holds the session's identifier.
pub const SESSION_COOKIE: &str = "__Host-flexgate-session";

/// How long a login may take.
pub const LOGIN_LIFETIME: Duration = Duration::minutes(10);

/// How long sessions live.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// The longest time from sign-in to the end of a session, even if it is used all the time.
    pub absolute: Duration,
    /// A session that has not been used for this time ends.
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
    /// The encryption of a cookie or of tokens failed, which is a bug in Flexgate.
    #[error("sealing failed")]
    Seal,
}
