//! Checks the claims of a token whose signature is verified, and reads the caller from them.

use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use super::fault::TokenFault;
use super::preset::text;
use super::settings::{ClaimPath, Issuer};
use super::token::TokenType;
use crate::domain::{Caller, Email, Identity, RoleSet, Scopes, Username};

type Claims = Map<String, Value>;

/// How far an issuer's clock may differ from Flexgate's, in either direction.
pub const LEEWAY: Duration = Duration::seconds(30);

/// The latest date that a claim may contain, in seconds since 1970: the start of the year 3000. A later date can only
/// be a mistake, and arithmetic on it could overflow.
const LAST_SECOND: i64 = 32_503_680_000;

/// The longest `sub`, in bytes (OIDC Core §2).
const MAX_SUBJECT: usize = 255;

/// Checks the claims of a token from `issuer` against all rules, and returns the caller.
pub(super) fn judge(
    issuer: &Issuer,
    token_type: TokenType,
    claims: &Claims,
    now: OffsetDateTime,
) -> Result<Caller, TokenFault> {
    if !issuer.token_types.contains(&token_type) {
        return Err(TokenFault::Type);
    }
    if claims.contains_key("events") {
        return Err(TokenFault::SecurityEvent);
    }
    if claims.contains_key("cnf") {
        return Err(TokenFault::Bound);
    }
    if claims.contains_key("_claim_names") || claims.contains_key("hasgroups") {
        return Err(TokenFault::Overage);
    }
    let expires_at = in_time(claims, now)?;
    let is_id_token = issuer.provider.is_id_token(token_type, claims)?;
    if is_id_token && !issuer.accept_id_tokens {
        return Err(TokenFault::IdToken);
    }
    for_us(claims, issuer.provider.audience_claim(is_id_token), &issuer.audiences)?;
    let sub = text(claims, "sub")?.ok_or(TokenFault::Missing("sub"))?;
    if sub.is_empty() || sub.len() > MAX_SUBJECT || sub.contains(char::is_control) {
        return Err(TokenFault::Malformed("sub"));
    }
    let subject = issuer.provider.subject(sub, claims)?;
    let verified_email = verified_email(issuer, claims);
    Ok(Caller {
        // Use the issuer's configured name, not `iss`. An issuer may have two spellings of `iss`, and one person must
        // not get two identities.
        identity: Identity { issuer: issuer.name.clone(), subject },
        scopes: scopes(issuer, claims)?,
        username: username(issuer, claims, verified_email.as_ref()),
        verified_email,
        full_name: parsed(&issuer.name_claim, claims),
        roles: roles(issuer, claims)?,
        issued_at: date(claims, "iat")?,
        expires_at,
    })
}

/// Checks `exp`, `nbf` and `iat`, and returns `exp`.
fn in_time(claims: &Claims, now: OffsetDateTime) -> Result<OffsetDateTime, TokenFault> {
    let expires_at = date(claims, "exp")?.ok_or(TokenFault::Missing("exp"))?;
    if expires_at <= now - LEEWAY {
        return Err(TokenFault::Expired);
    }
    for name in ["nbf", "iat"] {
        if date(claims, name)?.is_some_and(|date| date > now + LEEWAY) {
            return Err(TokenFault::Early(name));
        }
    }
    Ok(expires_at)
}

/// Reads a `NumericDate` (RFC 7519 §2) of whole seconds. Returns `None` if the claim is absent.
fn date(claims: &Claims, name: &'static str) -> Result<Option<OffsetDateTime>, TokenFault> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    // The date may be a JSON number with a decimal point. Rust prints a float with all its digits and without an
    // exponent. So `1.0` becomes `1`, which parses. `1e300` becomes a number that is too large for an `i64`, so it is
    // refused.
    let seconds = value.as_i64().or_else(|| value.as_f64()?.to_string().parse().ok());
    seconds
        .filter(|seconds| (1..=LAST_SECOND).contains(seconds))
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .map(Some)
        .ok_or(TokenFault::Malformed(name))
}

fn for_us(claims: &Claims, name: &'static str, audiences: &[String]) -> Result<(), TokenFault> {
    let named = strings(claims.get(name).ok_or(TokenFault::Missing(name))?).ok_or(TokenFault::Malformed(name))?;
    let ours = named.iter().any(|one| audiences.iter().any(|audience| audience == one));
    if ours { Ok(()) } else { Err(TokenFault::Audience) }
}

/// Returns the strings of a value that is a string or an array of strings. Returns `None` for any other value.
fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(one) => Some(vec![one]),
        Value::Array(many) => many.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

fn scopes(issuer: &Issuer, claims: &Claims) -> Result<Scopes, TokenFault> {
    let Some(value) = issuer.scope_claim.find(claims) else { return Ok(Scopes::default()) };
    let named = match value {
        Value::String(list) => list.split(' ').collect(),
        value => strings(value).ok_or(TokenFault::Malformed("scope"))?,
    };
    let meaning = |theirs| match &issuer.scope_map {
        Some(map) => map.get(theirs).map(|scope| scope.as_str()),
        None => Some(theirs),
    };
    Ok(named.into_iter().filter_map(meaning).collect())
}

fn roles(issuer: &Issuer, claims: &Claims) -> Result<RoleSet, TokenFault> {
    let Some(value) = issuer.roles_claim.as_ref().and_then(|path| path.find(claims)) else {
        return Ok(RoleSet::new());
    };
    let named = strings(value).ok_or(TokenFault::Malformed("roles"))?;
    let meaning = |theirs: &str| match &issuer.role_map {
        Some(map) => map.get(theirs).copied(),
        None => theirs.parse().ok(),
    };
    Ok(named.into_iter().filter_map(meaning).collect())
}

/// Returns the e-mail address only if the issuer says that it is verified. A user can enter somebody else's address as
/// long as nobody verifies it.
fn verified_email(issuer: &Issuer, claims: &Claims) -> Option<Email> {
    let verified = issuer.email_verified_claim.find(claims) == Some(&Value::Bool(true));
    verified.then(|| parsed(&issuer.email_claim, claims)).flatten()
}

/// Builds the username from its template. The template may use the e-mail claim only if the address is verified.
/// Otherwise anybody who can edit that claim could take over another person's username (CVE-2023-3128).
fn username(issuer: &Issuer, claims: &Claims, verified_email: Option<&Email>) -> Option<Username> {
    issuer.username.render(|name| {
        let path = ClaimPath::new(name);
        let value = path.find(claims)?.as_str()?;
        let is_email = path == issuer.email_claim || path.is("email");
        let verified = verified_email.is_some_and(|email| email.as_str() == value);
        (!is_email || verified).then(|| value.to_owned())
    })
}

/// Reads a claim that only describes the caller, such as the full name. A value that does not parse counts as absent.
fn parsed<T: std::str::FromStr>(path: &ClaimPath, claims: &Claims) -> Option<T> {
    path.find(claims)?.as_str()?.parse().ok()
}
