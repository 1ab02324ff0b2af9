//! Checks the claims of a token with a verified signature, and reads the caller from them.
//!
//! Only the claims in [`RELIED_UPON_CLAIMS`], and those that the issuer's settings name, can make a token invalid. The
//! parser has already removed all claims with the value null.

use std::cell::RefCell;
use std::ptr;

use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use super::fault::TokenFault;
use super::preset::{MAX_SUBJECT, is_true, text};
use super::settings::{ClaimPath, Issuer};
use super::token::TokenType;
use crate::domain::{Caller, Email, FullName, Identity, Role, RoleSet, Scopes, Unused, Username, Why};

type Claims = Map<String, Value>;

/// When Flexgate checks `exp`, `nbf` and `iat`, it tolerates this difference between the issuer's clock and its own.
pub const LEEWAY: Duration = Duration::seconds(60);

/// The claims that can make a token invalid, in addition to those that the issuer's settings name. `docs/issuers.md`
/// explains each claim.
pub const RELIED_UPON_CLAIMS: [&str; 22] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "cnf",
    "events",
    "_claim_names",
    "hasgroups",
    "nonce",
    "at_hash",
    "c_hash",
    "s_hash",
    "typ",
    "token_use",
    "client_id",
    "uid",
    "tid",
    "oid",
    "hd",
    "email_verified",
];

/// The latest date that Flexgate accepts, in Unix seconds: the start of the year 3000. Arithmetic on later dates could
/// overflow.
const LAST_SECOND: i64 = 32_503_680_000;

/// Checks the claims of a token from `issuer`, and returns the caller.
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
    let expires_at = in_time(claims, now)?;
    let is_id_token = issuer.provider.is_id_token(token_type, claims)?;
    if is_id_token && !issuer.accept_id_tokens {
        return Err(TokenFault::IdToken);
    }
    for_us(claims, issuer.provider.audience_claim(is_id_token), &issuer.audiences)?;
    let sub = text(claims, "sub")?.ok_or(TokenFault::Missing("sub"))?;
    if !is_subject(sub) {
        return Err(TokenFault::Malformed("sub"));
    }
    let subject = issuer.provider.subject(sub, claims)?;
    let mut unused = Unused::default();
    let verified_email = verified_email(issuer, claims, &mut unused);
    Ok(Caller {
        // Use the configured name of the issuer, so that two spellings of `iss` do not give one person two identities.
        identity: Identity { issuer: issuer.name.clone(), subject },
        scopes: scopes(issuer, claims)?,
        username: username(issuer, claims, verified_email.as_ref(), &mut unused),
        verified_email,
        full_name: full_name(issuer, claims, &mut unused),
        roles: roles(issuer, claims, &mut unused)?,
        acts: acts(claims),
        unused,
        limits: issuer.limits.clone(),
        issued_at: date(claims, "iat")?,
        expires_at,
    })
}

/// Checks `exp`, `nbf` and `iat`. Returns `exp`.
pub(super) fn in_time(claims: &Claims, now: OffsetDateTime) -> Result<OffsetDateTime, TokenFault> {
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

/// Reads a `NumericDate` (RFC 7519 §2), and drops its fraction. Returns `None` if the claim is absent.
pub(super) fn date(claims: &Claims, name: &'static str) -> Result<Option<OffsetDateTime>, TokenFault> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    // Rust prints floats without an exponent. So `1e300` becomes a number with too many digits for an `i64`, and is
    // refused. Negative values are refused too, even `-0.5`, whose whole part is zero.
    let whole = |float: f64| float.is_sign_positive().then(|| float.trunc().to_string().parse().ok()).flatten();
    let seconds = value.as_i64().or_else(|| value.as_f64().and_then(whole));
    seconds
        .filter(|seconds| (0..=LAST_SECOND).contains(seconds))
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .map(Some)
        .ok_or(TokenFault::Malformed(name))
}

pub(super) fn for_us(claims: &Claims, name: &'static str, audiences: &[String]) -> Result<(), TokenFault> {
    let named = strings(claims.get(name).ok_or(TokenFault::Missing(name))?).ok_or(TokenFault::Malformed(name))?;
    let ours = named.iter().any(|one| audiences.iter().any(|audience| audience == one));
    if ours { Ok(()) } else { Err(TokenFault::Audience(name)) }
}

/// Returns the strings in a claim that is a string or an array of strings, without nulls. Returns `None` if the claim
/// contains anything else.
fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(one) => Some(vec![one]),
        Value::Array(many) => many.iter().filter(|one| !one.is_null()).map(Value::as_str).collect(),
        _ => None,
    }
}

/// Reads a list of names from the claim that a setting names. If the claim is an object, its keys are the names,
/// because Zitadel sends roles as `{"agent": {"…": "example.com"}}`.
fn names<'c>(setting: &'static str, path: &ClaimPath, claims: &'c Claims) -> Result<Vec<&'c str>, TokenFault> {
    match path.find(claims) {
        None if is_left_out(path, claims) => Err(TokenFault::LeftOut(path.as_str().into())),
        None => Ok(Vec::new()),
        Some(Value::Object(map)) => {
            let holds = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
            Ok(map.iter().filter(|(_, value)| holds(value)).map(|(name, _)| name.as_str()).collect())
        }
        Some(value) => strings(value).ok_or(TokenFault::Setting { setting, claim: path.as_str().into() }),
    }
}

/// Whether the issuer left out this claim because the token would have become too large. Entra does this for a person
/// in many groups, and says so with a distributed claim (OIDC Core §5.6.2) or with the claim `hasgroups`.
fn is_left_out(path: &ClaimPath, claims: &Claims) -> bool {
    let root = path.root(claims);
    let elsewhere =
        claims.get("_claim_names").and_then(Value::as_object).is_some_and(|names| names.contains_key(&root));
    elsewhere || (root == "groups" && claims.get("hasgroups").is_some_and(is_true))
}

/// Whether the claim is a single string. Such a string may contain several names.
fn is_one_string(path: &ClaimPath, claims: &Claims) -> bool {
    path.find(claims).is_some_and(Value::is_string)
}

fn scopes(issuer: &Issuer, claims: &Claims) -> Result<Scopes, TokenFault> {
    let path = &issuer.scope_claim;
    let mut named = names("scope_claim", path, claims)?;
    let is_known = |name: &str| issuer.scope_map.as_ref().is_some_and(|map| map.contains_key(name));
    // In `scope` and `scp`, a string is a list of scopes (RFC 6749 §3.3). If the scopes come from another claim through
    // a scope map, a string may instead be the name of a single group, which can contain spaces.
    let is_list = issuer.scope_map.is_none() || path.is("scope") || path.is("scp");
    if is_one_string(path, claims) {
        named = named.into_iter().flat_map(|text| pieces(text, char::is_whitespace, is_known, is_list)).collect();
    }
    let meaning = |theirs| match &issuer.scope_map {
        Some(map) => map.get(theirs).map(|scope| scope.as_str()),
        None => Some(theirs),
    };
    Ok(named.into_iter().filter_map(meaning).collect())
}

/// Splits a string into names, unless the whole string is a known name. If `is_list` is false, the string may be a
/// single name. In this case, the function splits it only if each piece is a known name. Otherwise, somebody could get
/// the role `supervisor` by naming a group `x,supervisor`.
fn pieces(
    text: &str,
    is_separator: impl Fn(char) -> bool,
    is_known: impl Fn(&str) -> bool,
    is_list: bool,
) -> Vec<&str> {
    let pieces: Vec<_> = text.split(is_separator).map(str::trim).filter(|piece| !piece.is_empty()).collect();
    let splits = is_list || pieces.iter().all(|piece| is_known(piece));
    if splits && !is_known(text) { pieces } else { vec![text] }
}

/// Reads the roles. Without a role map, the claim contains the names of Flex roles, in upper or lower case. The keys of
/// a role map are case-sensitive, because group names may differ only in case.
fn roles(issuer: &Issuer, claims: &Claims, unused: &mut Unused) -> Result<RoleSet, TokenFault> {
    let Some(path) = &issuer.roles_claim else { return Ok(RoleSet::new()) };
    let meaning = |theirs: &str| match &issuer.role_map {
        Some(map) => map.get(theirs).copied(),
        None => Role::in_any_case(theirs),
    };
    let mut named = names("roles_claim", path, claims)?;
    if is_one_string(path, claims) {
        let is_separator = |c: char| matches!(c, ',' | ';') || (issuer.role_map.is_none() && c.is_whitespace());
        let is_known = |name: &str| meaning(name).is_some();
        named = named.into_iter().flat_map(|text| pieces(text, is_separator, is_known, false)).collect();
    }
    unused.roles(named.iter().copied().filter(|name| meaning(name).is_none()));
    Ok(named.into_iter().filter_map(meaning).collect())
}

/// Returns the e-mail address if the issuer has verified it. An unverified address may belong to somebody else.
fn verified_email(issuer: &Issuer, claims: &Claims, unused: &mut Unused) -> Option<Email> {
    let email = parsed(&issuer.email_claim, claims, unused)?;
    if issuer.email_verified_claim.find(claims).is_some_and(is_true) {
        return Some(email);
    }
    unused.claim(issuer.email_verified_claim.as_str(), Why::Unverified);
    None
}

/// Returns the full name, or else the given name and the family name together.
fn full_name(issuer: &Issuer, claims: &Claims, unused: &mut Unused) -> Option<FullName> {
    let own = parsed(&issuer.name_claim, claims, unused);
    let mut part = |name| claims.contains_key(name).then(|| parsed(&ClaimPath::new(name), claims, unused)).flatten();
    own.or_else(|| {
        let (given, family) = (part("given_name"), part("family_name"));
        FullName::joined(given.as_ref(), family.as_ref())
    })
}

/// Builds the username from its template. An e-mail address may become part of the username only if the issuer has
/// verified the address. Otherwise, somebody could take over another person's username (CVE-2023-3128).
///
/// Does not trim the value, because `ada` and `ada ` may be two accounts at the issuer.
fn username(issuer: &Issuer, claims: &Claims, verified_email: Option<&Email>, unused: &mut Unused) -> Option<Username> {
    let notes = RefCell::new(Vec::new());
    let username = issuer.username.render(|name| {
        let path = ClaimPath::new(name);
        let found = path.find(claims);
        let missing = if found.is_some() { Why::Unusable } else { Why::Missing };
        let Some(value) = found.and_then(Value::as_str) else {
            notes.borrow_mut().push((name.to_owned(), missing));
            return None;
        };
        // Two paths may be different spellings of the same claim. So compare the values' places in the token, not the
        // paths.
        let is_configured =
            issuer.email_claim.find(claims).is_some_and(|email| found.is_some_and(|found| ptr::eq(found, email)));
        let is_email = is_configured || path.ends_with("email");
        let verified = verified_email.is_some_and(|email| email.as_str() == value);
        if is_email && !verified {
            notes.borrow_mut().push((issuer.email_verified_claim.as_str().to_owned(), Why::Unverified));
            return None;
        }
        Some(value.to_owned())
    });
    let mut notes = notes.into_inner();
    if username.is_none() && notes.is_empty() {
        notes.extend(issuer.username.claims().map(|claim| (claim.to_owned(), Why::Unusable)));
    }
    for (claim, why) in notes {
        unused.claim(&claim, why);
    }
    username
}

/// Returns the subject of the actor (`act`, RFC 8693 §4.1), if the token names one. Ignores a malformed claim.
fn acts(claims: &Claims) -> Option<Box<str>> {
    let sub = claims.get("act")?.get("sub")?.as_str()?;
    is_subject(sub).then(|| sub.into())
}

fn is_subject(sub: &str) -> bool {
    !sub.is_empty() && sub.len() <= MAX_SUBJECT && !sub.contains(char::is_control)
}

/// Reads and trims a claim that only describes the caller, such as the full name. Returns `None` if the value is
/// unusable.
fn parsed<T: std::str::FromStr>(path: &ClaimPath, claims: &Claims, unused: &mut Unused) -> Option<T> {
    let Some(value) = path.find(claims) else {
        unused.claim(path.as_str(), Why::Missing);
        return None;
    };
    let parsed = value.as_str().and_then(|text| text.trim().parse().ok());
    if parsed.is_none() {
        unused.claim(path.as_str(), Why::Unusable);
    }
    parsed
}
