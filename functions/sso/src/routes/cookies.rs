//! Builds and reads the login cookie and the session cookie. The `__Host-` prefix binds both to this host, and scripts
//! cannot read them.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use time::Duration;

use crate::signin::{LOGIN_COOKIE, LOGIN_LIFETIME, SESSION_COOKIE};

/// Returns the value of the cookie with that name. Returns `None` if the request has two cookies of that name: a
/// browser stores only one `__Host-` cookie per name, so one of the two is not genuine.
pub(crate) fn get<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|line| line.split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|(key, _)| *key == name);
    match (values.next(), values.next()) {
        (Some((_, value)), None) => Some(value),
        _ => None,
    }
}

/// Builds `Set-Cookie` for the login cookie. `None` clears the cookie. `SameSite` is `Lax`, because Twilio sends the
/// browser back by a cross-site navigation.
pub(crate) fn login(value: Option<&str>) -> Option<HeaderValue> {
    set(LOGIN_COOKIE, value, "Lax", LOGIN_LIFETIME)
}

/// Builds `Set-Cookie` for the session cookie. `None` clears the cookie.
pub(crate) fn session(value: Option<&str>, lifetime: Duration) -> Option<HeaderValue> {
    set(SESSION_COOKIE, value, "Strict", lifetime)
}

fn set(name: &str, value: Option<&str>, same_site: &str, lifetime: Duration) -> Option<HeaderValue> {
    let seconds = if value.is_some() { lifetime.whole_seconds() } else { 0 };
    let value = value.unwrap_or_default();
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; Secure; SameSite={same_site}");
    let mut header = HeaderValue::from_str(&text).ok()?;
    header.set_sensitive(true);
    Some(header)
}
