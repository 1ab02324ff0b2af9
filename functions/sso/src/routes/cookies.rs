//! Builds and reads the login cookies and the session cookie.

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use time::Duration;

use crate::signin::{LOGIN_COOKIE, LOGIN_LIFETIME, LoginCookie, LoginId, SESSION_COOKIE};

/// The maximum number of cookies among which Flexgate looks for login cookies. Browsers keep at most 180 per site.
const MAX_COOKIES: usize = 200;

/// Returns every cookie's name and value as bytes, because another application's cookie may contain any bytes.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|b| *b == b';'));
    lines.filter_map(|pair| {
        let pair = pair.trim_ascii();
        let equals = pair.iter().position(|b| *b == b'=')?;
        Some((&pair[..equals], &pair[equals + 1..]))
    })
}

/// Returns the value of the session cookie. Returns `None` if the value is not text, or if the request does not contain
/// exactly one session cookie. A browser never sends two, because the prefix `__Host-` lets it store only one cookie of
/// this name for Flexgate's host.
pub(crate) fn session_of(headers: &HeaderMap) -> Option<&str> {
    let mut values = pairs(headers).filter(|(name, _)| *name == SESSION_COOKIE.as_bytes()).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (Some(value), None) => std::str::from_utf8(value).ok(),
        _ => None,
    }
}

/// Returns the login cookies in the browser's order. If two cookies have the same name, leaves out both.
pub(crate) fn logins_of(headers: &HeaderMap) -> Vec<LoginCookie<'_>> {
    let mut cookies: Vec<LoginCookie<'_>> = Vec::new();
    let mut twice = Vec::new();
    for (name, value) in pairs(headers).take(MAX_COOKIES) {
        let number = name.strip_prefix(LOGIN_COOKIE.as_bytes()).and_then(|number| std::str::from_utf8(number).ok());
        let Some(id) = number.and_then(LoginId::parse) else { continue };
        // A value that is not text cannot belong to a valid login. Keep the cookie anyway, to detect a second cookie
        // with the same name.
        let sealed = std::str::from_utf8(value).unwrap_or_default();
        if cookies.iter().any(|cookie| cookie.id == id) {
            twice.push(id);
        } else {
            cookies.push(LoginCookie { id, sealed });
        }
    }
    cookies.retain(|cookie| !twice.contains(&cookie.id));
    cookies
}

/// Builds `Set-Cookie` for a login cookie. `None` clears the cookie. `SameSite` is `Lax`, because Twilio sends the
/// browser back with a cross-site navigation.
pub(crate) fn login(id: LoginId, value: Option<&str>) -> Option<HeaderValue> {
    set(&id.cookie_name(), value, LOGIN_LIFETIME)
}

/// Builds `Set-Cookie` for the session cookie, with its lifetime. `None` clears the cookie. `SameSite` is `Lax`, so
/// that the browser also sends the cookie after the redirect from Twilio to the callback. To protect against requests
/// from other sites, routes that use a session require `POST`, the header `x-flexgate` and an allowed origin.
pub(crate) fn session(value: Option<(&str, Duration)>) -> Option<HeaderValue> {
    let (value, lifetime) = value.unzip();
    set(SESSION_COOKIE, value, lifetime.unwrap_or_default())
}

/// Adds headers that clear these logins' cookies.
pub(crate) fn forget(logins: impl IntoIterator<Item = LoginId>, headers: &mut HeaderMap) {
    for cleared in logins.into_iter().filter_map(|id| login(id, None)) {
        headers.append(SET_COOKIE, cleared);
    }
}

fn set(name: &str, value: Option<&str>, lifetime: Duration) -> Option<HeaderValue> {
    let seconds = if value.is_some() { lifetime.whole_seconds() } else { 0 };
    let value = value.unwrap_or_default();
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; Secure; SameSite=Lax");
    let mut header = HeaderValue::from_str(&text).ok()?;
    header.set_sensitive(true);
    Some(header)
}
