//! The `state` parameter of a login. Flexgate sends it to Twilio, and Twilio returns it to the callback.
//!
//! Twilio's SDK sends base64url of `{"connection_name": …, "redirect_url": …}`. Flexgate appends the login's number as
//! white space: a space for each 0 bit and a tab for each 1 bit. Twilio might reject an additional JSON member, but
//! JSON parsers ignore white space after the object (RFC 8259, section 2). If Twilio removes the white space, Flexgate
//! uses the newest pending login of the profile.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

/// The number of one pending login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginId(pub(super) u64);

/// The number in base64url, as in the name of the login's cookie.
impl fmt::Display for LoginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.to_be_bytes()))
    }
}

impl LoginId {
    /// Reads the number from its base64url form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(|bytes| Self(u64::from_be_bytes(bytes)))
    }
}

/// The result of parsing a returned `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Returned {
    /// The `state` comes from Flexgate and contains a login's number.
    Login(LoginId),
    /// The `state` contains the callback's redirect URL, but no login number.
    Unnumbered,
    /// The `state` does not come from Flexgate.
    Foreign,
}

pub(super) fn write(client_id: &str, redirect_url: &str, id: LoginId) -> String {
    let mut text = json!({ "connection_name": client_id, "redirect_url": redirect_url }).to_string();
    text.extend((0..64).rev().map(|bit| if id.0 >> bit & 1 == 1 { '\t' } else { ' ' }));
    URL_SAFE_NO_PAD.encode(text)
}

/// Parses a returned `state`. `redirect_url` is the callback's own URL.
pub(super) fn read(unverified: &str, redirect_url: &str) -> Returned {
    let unpadded = unverified.trim_end_matches('=');
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(unpadded) else { return Returned::Foreign };
    let Ok(object) = serde_json::from_slice::<serde_json::Value>(&bytes) else { return Returned::Foreign };
    if object.get("redirect_url").and_then(serde_json::Value::as_str) != Some(redirect_url) {
        return Returned::Foreign;
    }
    let tail = bytes.iter().rev().take_while(|b| matches!(b, b' ' | b'\t')).count();
    if tail != 64 {
        return Returned::Unnumbered;
    }
    let number = bytes[bytes.len() - 64..].iter().fold(0, |number, b| number << 1 | u64::from(*b == b'\t'));
    Returned::Login(LoginId(number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const URL: &str = "https://gate.example/sso/default/callback";

    proptest! {
        #[test]
        fn a_number_survives_the_way_and_the_object_stays_twilios(number in any::<u64>()) {
            let state = write("client", URL, LoginId(number));
            prop_assert_eq!(read(&state, URL), Returned::Login(LoginId(number)));
            prop_assert_eq!(LoginId::parse(&LoginId(number).to_string()), Some(LoginId(number)));
            let object: serde_json::Value =
                serde_json::from_slice(&URL_SAFE_NO_PAD.decode(state).unwrap()).unwrap();
            prop_assert_eq!(object, json!({"connection_name": "client", "redirect_url": URL}));
        }

        #[test]
        fn any_other_text_is_foreign(text in any::<String>()) {
            prop_assert_eq!(read(&text, URL), Returned::Foreign);
        }
    }

    #[test]
    fn a_state_written_anew_has_lost_its_number() {
        let anew = URL_SAFE_NO_PAD.encode(json!({"redirect_url": URL, "connection_name": "client"}).to_string());
        assert_eq!(read(&anew, URL), Returned::Unnumbered);
        assert_eq!(read(&anew, "https://gate.example/sso/other/callback"), Returned::Foreign);
    }
}
