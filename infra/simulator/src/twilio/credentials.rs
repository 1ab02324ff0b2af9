//! Authenticates calls by HTTP Basic, with the account's auth token, an API key, or a Flex token (`token:<JWE>`).

use serde::Deserialize;

use super::TwilioError;
use crate::call::Call;
use crate::switches::{Numeric as _, Switches};
use crate::world::World;
use crate::{
    ACCOUNT_SID, API_KEY_SECRET, API_KEY_SID, AUTH_TOKEN, FOREIGN_KEY_SECRET, FOREIGN_KEY_SID, RESTRICTED_KEY_SECRET,
    RESTRICTED_KEY_SID, random, web,
};

#[derive(Debug)]
pub(crate) struct Credentials {
    /// The valid auth tokens, the newest last.
    auth_tokens: Vec<String>,
    keys: Vec<Key>,
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) sid: String,
    pub(crate) secret: String,
    pub(crate) restricted: bool,
    pub(crate) foreign: bool,
}

/// The body with which a test requests a new API key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    #[serde(default)]
    restricted: bool,
    #[serde(default)]
    foreign: bool,
}

impl Default for Credentials {
    fn default() -> Self {
        let key = |sid: &str, secret: &str, restricted, foreign| Key {
            sid: sid.to_owned(),
            secret: secret.to_owned(),
            restricted,
            foreign,
        };
        Self {
            auth_tokens: vec![AUTH_TOKEN.to_owned()],
            keys: vec![
                key(API_KEY_SID, API_KEY_SECRET, false, false),
                key(RESTRICTED_KEY_SID, RESTRICTED_KEY_SECRET, true, false),
                key(FOREIGN_KEY_SID, FOREIGN_KEY_SECRET, false, true),
            ],
        }
    }
}

impl Credentials {
    pub(crate) fn current(&self) -> &str {
        self.auth_tokens.last().map_or(AUTH_TOKEN, String::as_str)
    }

    pub(crate) fn rotate(&mut self, auth_token: Option<String>, keep_old: bool) {
        if !keep_old {
            self.auth_tokens.clear();
        }
        self.auth_tokens.push(auth_token.unwrap_or_else(|| random::hex(16)));
    }

    pub(crate) fn add_key(&mut self, wanted: &NewKey) -> Key {
        let key = Key {
            sid: random::sid("SK"),
            secret: random::text(24),
            restricted: wanted.restricted,
            foreign: wanted.foreign,
        };
        self.keys.push(key.clone());
        key
    }

    fn check(&self, call: &Call, switches: &Switches) -> Result<(), TwilioError> {
        let (user, password) = basic(call).ok_or_else(TwilioError::unauthenticated)?;
        if let Some(key) = self.keys.iter().find(|key| key.sid == user) {
            return match key {
                key if key.secret != password => Err(TwilioError::unauthenticated()),
                key if key.foreign => Err(foreign()),
                key if key.restricted => Err(TwilioError::new(
                    switches.restricted_key_status.status(),
                    8001,
                    "The API Key does not have the permission this operation needs",
                )),
                _ => Ok(()),
            };
        }
        if user == ACCOUNT_SID && self.auth_tokens.contains(&password) {
            return Ok(());
        }
        if user != ACCOUNT_SID && user.starts_with("AC") && user.len() == ACCOUNT_SID.len() {
            return Err(foreign());
        }
        Err(TwilioError::unauthenticated())
    }
}

fn foreign() -> TwilioError {
    TwilioError::new(401, 70051, "Authorization failed: the credential belongs to another account")
}

/// Refuses a call without valid credentials of the account.
pub(super) fn require(world: &World, call: &Call) -> Result<(), TwilioError> {
    let state = world.state();
    state.credentials.check(call, &state.switches)
}

/// Returns the token with which a call authenticates, if any.
pub(super) fn presented_token(call: &Call) -> Option<String> {
    basic(call).filter(|(user, _)| user == "token").map(|(_, token)| token)
}

fn basic(call: &Call) -> Option<(String, String)> {
    let header = call.header("authorization")?;
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    // SDK 3.0.0 has a bug: it sends `Basic <base64>)`, with a stray parenthesis.
    let decoded = web::unb64(encoded.trim().trim_end_matches(')'))?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}
