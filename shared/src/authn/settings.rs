//! The settings of the trusted issuers (`FLEXGATE_ISSUERS`).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};
use url::{Host, Url};

use super::mistakes::{Faults, SettingsFault};
use super::preset::{Preset, Provider};
use super::token::TokenType;
use crate::base::settings::Reader;
use crate::base::strict_json;
use crate::domain::ledger::MayClaim;
use crate::domain::policy::{UsernamePattern, UsernameTemplate};
use crate::domain::{Identity, IssuerLimits, Role, Scope};

/// The issuers whose tokens Flexgate trusts.
#[derive(Debug, Clone)]
pub struct CallerSettings {
    /// `FLEXGATE_ISSUERS`: a JSON array, described in `docs/configuration.md`. Without this variable, Flexgate trusts
    /// no issuer, and refuses every request that needs an issuer's token.
    pub issuers: Vec<Issuer>,
}

impl CallerSettings {
    /// Reads this group of settings.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let Some(text) = reader.text("FLEXGATE_ISSUERS").map(str::to_owned) else {
            return Some(Self { issuers: Vec::new() });
        };
        match issuers(&text) {
            Ok(issuers) => Some(Self { issuers }),
            Err(faults) => {
                for fault in faults {
                    reader.wrong::<()>("FLEXGATE_ISSUERS", fault.to_string());
                }
                None
            }
        }
    }
}

/// One trusted issuer: an item of `FLEXGATE_ISSUERS`.
///
/// Only `issuer` and `audiences` are required. If the description of a field contains the word *preset*, the field's
/// default depends on the [`Preset`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSettings {
    /// The issuer, exactly as in a token's `iss`, including a trailing slash.
    pub issuer: String,
    /// The audiences that stand for Flexgate. A token's `aud` must contain one of them. For Cognito, these are client
    /// ids.
    pub audiences: Vec<String>,
    /// The kind of issuer. Default `generic`.
    #[serde(default)]
    pub preset: Preset,
    /// The URL of the issuer's keys. Default: the `jwks_uri` in `{issuer}/.well-known/openid-configuration`.
    pub jwks_uri: Option<String>,
    /// The allowed values of `typ` in a token's header. Default `["at+jwt", "jwt", "absent"]`.
    pub token_types: Option<Vec<TokenType>>,
    /// Whether ID tokens are accepted as well as access tokens. Default false, unless the *preset* sets another
    /// default.
    pub accept_id_tokens: Option<bool>,
    /// The claim with the scopes: a space-separated string, or an array. Default `scope`, unless the *preset* sets
    /// another claim.
    pub scope_claim: Option<String>,
    /// Maps the issuer's scopes, roles or groups to Flexgate's scopes: `{"agents": "flexgate.token"}`. With a map,
    /// other names in the token are ignored. Without a map, the token must contain Flexgate's scopes.
    pub scope_map: Option<BTreeMap<String, String>>,
    /// The claim with the Flex username. Default `preferred_username`, unless the *preset* sets another claim.
    pub username_claim: Option<String>,
    /// A template that builds the username from claims, such as `{tid}.{oid}` or `{sub}@example.com`. It replaces
    /// `username_claim`.
    pub username_template: Option<String>,
    /// The claim with the e-mail address. Default `email`.
    pub email_claim: Option<String>,
    /// The claim that is true if the e-mail address is verified. Unverified addresses are ignored. Default
    /// `email_verified`, unless the *preset* sets another claim.
    pub email_verified_claim: Option<String>,
    /// The claim with the full name. Default `name`.
    pub name_claim: Option<String>,
    /// The claim with the roles or groups: a string, or an array. Default: none.
    pub roles_claim: Option<String>,
    /// Maps the issuer's roles or groups to Flex roles: `{"group-x": "supervisor"}`. With a map, other names in the
    /// token are ignored. Without a map, the token must contain Flex roles.
    pub role_map: Option<BTreeMap<String, String>>,
    /// Patterns for the usernames of this issuer's people: `["*@partner.example"]`. Default: all usernames. See
    /// [`UsernamePattern`].
    pub usernames: Option<Vec<String>>,
    /// The Flex users that this issuer's people may claim. To claim a Flex user is to mint a token for a user who is
    /// not yet bound to an identity. The list contains only `everybody`, or any of `flex` (users about whom no source
    /// says anything), `scim`, `api`, `operator`, `webhook:{name}` and `claims:{issuer}`. Default: `everybody` for a
    /// single issuer, otherwise nobody.
    pub may_claim: Option<Vec<String>>,
    /// Whether the SCIM client's `externalId` is the subject in this issuer's tokens. If so, SCIM provisioning also
    /// binds the person's identity to the user. Default false.
    #[serde(default)]
    pub scim_external_id: bool,
    /// The Workspace domains (`hd`) whose accounts Flexgate accepts. The preset `google` requires this field. Other
    /// presets refuse it.
    #[serde(default)]
    pub hosted_domains: Vec<String>,
}

/// The path of a claim: a JSON pointer (`/a/b`), a name (`https://example.com/roles`), or names joined with dots
/// (`realm_access.roles`). A text with dots means the claim with exactly this name, if the token has such a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClaimPath(Box<str>);

impl ClaimPath {
    pub(super) fn new(text: &str) -> Self {
        // Convert `/email` to `email`, so that the two compare equal.
        let name = text.strip_prefix('/').filter(|rest| !rest.contains(['/', '~']));
        Self(name.unwrap_or(text).into())
    }

    pub(super) fn find<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        let mut segments = match self.0.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")).collect(),
            None if claims.contains_key(&*self.0) => vec![self.0.to_string()],
            None => self.0.split('.').map(str::to_owned).collect::<Vec<_>>(),
        }
        .into_iter();
        let first = claims.get(&segments.next()?)?;
        segments.try_fold(first, |value, name| value.as_object()?.get(&name)).filter(|value| !value.is_null())
    }

    /// Returns the name of the top-level claim on this path.
    pub(super) fn root(&self, claims: &Map<String, Value>) -> String {
        match self.0.strip_prefix('/') {
            Some(pointer) => pointer.split('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~"),
            None if claims.contains_key(&*self.0) => self.0.to_string(),
            None => self.0.split('.').next().unwrap_or_default().to_owned(),
        }
    }

    /// Returns the path as in the settings.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is(&self, name: &str) -> bool {
        &*self.0 == name
    }

    /// Whether the last part of the path is `name`.
    pub(super) fn ends_with(&self, name: &str) -> bool {
        self.0.rsplit(['.', '/']).next() == Some(name)
    }
}

/// A trusted issuer with validated settings. [`IssuerSettings`] explains the fields.
#[derive(Debug, Clone)]
pub struct Issuer {
    pub(super) name: Box<str>,
    pub(super) provider: Provider,
    pub(super) audiences: Vec<String>,
    pub(super) jwks_uri: Option<Url>,
    pub(super) token_types: Vec<TokenType>,
    pub(super) accept_id_tokens: bool,
    pub(super) scope_claim: ClaimPath,
    pub(super) scope_map: Option<BTreeMap<String, Scope>>,
    pub(super) username: UsernameTemplate,
    pub(super) email_claim: ClaimPath,
    pub(super) email_verified_claim: ClaimPath,
    pub(super) name_claim: ClaimPath,
    pub(super) roles_claim: Option<ClaimPath>,
    pub(super) role_map: Option<BTreeMap<String, Role>>,
    pub(super) limits: IssuerLimits,
    /// The Flex users that the issuer may claim. `None` if the settings do not say.
    may_claim: Option<MayClaim>,
    scim_external_id: bool,
}

impl Issuer {
    /// Whether the settings allow the issuer to claim at least some Flex users that are bound to no identity.
    #[must_use]
    pub fn may_claim_somebody(&self) -> bool {
        *self.limits.may_claim != MayClaim::default()
    }

    /// Returns the identity of the person to whom the SCIM client gives this `externalId`. Returns `None` if the
    /// settings do not say that `externalId` is a subject of this issuer. Returns an error if the `externalId` does not
    /// have the form of this issuer's subjects.
    #[must_use]
    pub fn identity_of_external_id(&self, external_id: &str) -> Option<Result<Identity, ExternalIdError>> {
        self.scim_external_id.then(|| {
            let subject = self.provider.subject_of_external_id(external_id).ok_or(ExternalIdError)?;
            Ok(Identity { issuer: self.name.clone(), subject })
        })
    }

    /// The issuer's name, as configured.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns every `iss` value of this issuer.
    pub(super) fn spellings(&self) -> impl Iterator<Item = &str> {
        [Some(&*self.name), self.provider.other_spelling()].into_iter().flatten()
    }
}

/// The `externalId` cannot be a person's id at the issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the person's id in the issuer's tokens; for Entra, the object ID")]
pub struct ExternalIdError;

/// Reads the trusted issuers from `FLEXGATE_ISSUERS`. The error lists all mistakes. An empty array is a mistake.
pub fn issuers(json: &str) -> Result<Vec<Issuer>, Vec<SettingsFault>> {
    let whole = |problem: String| vec![SettingsFault { place: "the list".into(), problem }];
    let items = match strict_json::parse(json.as_bytes()) {
        Ok(Value::Array(items)) if !items.is_empty() => items,
        Ok(_) => return Err(whole("must be a JSON array with at least one issuer".into())),
        Err(error) => return Err(whole(error.to_string())),
    };
    let mut good: Vec<Issuer> = Vec::new();
    let mut faults = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let settings: IssuerSettings = match serde_json::from_value(item) {
            Ok(settings) => settings,
            Err(error) => {
                faults.push(SettingsFault { place: format!("[{index}]"), problem: error.to_string() });
                continue;
            }
        };
        match settings.validate() {
            Ok(issuer)
                if good.iter().any(|other| other.spellings().any(|name| issuer.spellings().any(|n| n == name))) =>
            {
                faults
                    .push(SettingsFault { place: format!("[{index}].issuer"), problem: "is configured twice".into() });
            }
            Ok(issuer) if issuer.scim_external_id && good.iter().any(|other| other.scim_external_id) => {
                let problem = "is true for another issuer already: an externalId is a subject of one issuer".to_owned();
                faults.push(SettingsFault { place: format!("[{index}].scim_external_id"), problem });
            }
            Ok(issuer) => good.push(issuer),
            Err(found) => faults.extend(
                found.into_iter().map(|fault| SettingsFault { place: format!("[{index}].{}", fault.place), ..fault }),
            ),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    // The default depends on the number of issuers. A single issuer may claim every Flex user that is bound to no
    // identity. If there are several issuers, none of them may claim any user.
    let default = if good.len() == 1 { MayClaim::Everybody } else { MayClaim::default() };
    for issuer in &mut good {
        issuer.limits.may_claim = Arc::new(issuer.may_claim.take().unwrap_or_else(|| default.clone()));
    }
    Ok(good)
}

impl IssuerSettings {
    /// Checks the settings. The error lists all mistakes.
    pub fn validate(self) -> Result<Issuer, Vec<SettingsFault>> {
        let mut faults = Faults::default();
        let defaults = self.preset.defaults();
        let provider = match web_address(&self.issuer) {
            Ok(url) if url.query().is_some() => faults.add("issuer", "must not have a query"),
            Ok(url) => self.preset.provider(&self.issuer, &url, self.hosted_domains, &mut faults),
            Err(problem) => faults.add("issuer", problem),
        };
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            faults.add::<()>("audiences", "must name at least one audience: an empty list would accept nobody");
        }
        let jwks_uri = self.jwks_uri.and_then(|uri| match web_address(&uri) {
            Ok(url) => Some(url),
            Err(problem) => faults.add("jwks_uri", problem),
        });
        if self.token_types.as_ref().is_some_and(Vec::is_empty) {
            faults.add::<()>("token_types", "must hold at least one of at+jwt, jwt, absent");
        }
        if self.role_map.is_some() && self.roles_claim.is_none() {
            faults.add::<()>("role_map", "has no effect without roles_claim");
        }
        let username = match (self.username_claim, self.username_template) {
            (Some(_), Some(_)) => faults.add("username_template", "cannot be set together with username_claim"),
            (Some(claim), None) if matches!(&*claim, "" | "/") => faults.add("username_claim", "must name a claim"),
            (Some(claim), None) => Some(UsernameTemplate::of_claim(&claim)),
            (None, Some(template)) => match template.parse() {
                Ok(template) => Some(template),
                Err(error) => faults.add("username_template", format!("{error}")),
            },
            (None, None) => Some(UsernameTemplate::of_claim(defaults.username_claim)),
        };
        let mut claim = |place, name: Option<String>, default: &str| match name.as_deref() {
            Some("" | "/") => faults.add(place, "must name a claim"),
            name => Some(ClaimPath::new(name.unwrap_or(default))),
        };
        let scope_claim = claim("scope_claim", self.scope_claim, defaults.scope_claim);
        let email_claim = claim("email_claim", self.email_claim, "email");
        let email_verified_claim =
            claim("email_verified_claim", self.email_verified_claim, defaults.email_verified_claim);
        let name_claim = claim("name_claim", self.name_claim, "name");
        let roles_claim = self.roles_claim.and_then(|name| claim("roles_claim", Some(name), ""));
        let scope_map = self.scope_map.and_then(|map| meanings("scope_map", map, &mut faults));
        let role_map = self.role_map.and_then(|map| meanings("role_map", map, &mut faults));
        let usernames = self.usernames.map(|patterns| usernames(&patterns, &mut faults)).unwrap_or_default();
        let may_claim = self.may_claim.and_then(|names| may_claim(&names, &mut faults));
        let issuer = || {
            Some(Issuer {
                name: self.issuer.into(),
                provider: provider?,
                audiences: self.audiences,
                jwks_uri,
                token_types: self
                    .token_types
                    .unwrap_or_else(|| vec![TokenType::AccessToken, TokenType::Jwt, TokenType::Absent]),
                accept_id_tokens: self.accept_id_tokens.unwrap_or(defaults.accept_id_tokens),
                scope_claim: scope_claim?,
                scope_map,
                username: username?,
                email_claim: email_claim?,
                email_verified_claim: email_verified_claim?,
                name_claim: name_claim?,
                roles_claim,
                role_map,
                limits: IssuerLimits { usernames, ..IssuerLimits::default() },
                may_claim,
                scim_external_id: self.scim_external_id,
            })
        };
        match issuer() {
            Some(issuer) if faults.is_empty() => Ok(issuer),
            _ => Err(faults.into_list()),
        }
    }
}

fn meanings<T: std::str::FromStr<Err: std::fmt::Display>>(
    place: &'static str,
    map: BTreeMap<String, String>,
    faults: &mut Faults,
) -> Option<BTreeMap<String, T>> {
    if map.is_empty() {
        return faults.add(place, "must map at least one name: an empty map would grant nothing");
    }
    map.into_iter()
        .map(|(theirs, ours)| match ours.parse() {
            Ok(meaning) => Some((theirs, meaning)),
            Err(error) => faults.add(&format!("{place}.{theirs}"), format!("{error}")),
        })
        .collect()
}

fn usernames(patterns: &[String], faults: &mut Faults) -> Arc<[UsernamePattern]> {
    if patterns.is_empty() {
        faults.add::<()>("usernames", "must hold at least one pattern: an empty list would allow nobody");
    }
    let parse = |text: &String| match text.parse() {
        Ok(pattern) => Some(pattern),
        Err(error) => faults.add("usernames", format!("{error}")),
    };
    patterns.iter().filter_map(parse).collect()
}

fn may_claim(names: &[String], faults: &mut Faults) -> Option<MayClaim> {
    if names.iter().any(|name| name == "everybody") {
        return match names.len() {
            1 => Some(MayClaim::Everybody),
            _ => faults.add("may_claim", "must not name others beside everybody"),
        };
    }
    let parse = |name: &String| match name.parse() {
        Ok(claimable) => Some(claimable),
        Err(_) => faults.add(
            "may_claim",
            "must hold everybody, or any of flex, scim, api, operator, webhook:NAME and claims:ISSUER",
        ),
    };
    names.iter().map(parse).collect::<Option<_>>().map(MayClaim::Only)
}

/// Parses a URL for fetching keys or metadata. It must be https, or http on the local machine.
pub(super) fn web_address(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "must be a URL, like https://login.example.com/")?;
    let secure = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    if !secure {
        return Err("must be https (http only for localhost, 127.0.0.1 and [::1])");
    }
    let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if bare { Ok(url) } else { Err("must not have a user, a password or a fragment") }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address == Ipv4Addr::LOCALHOST,
        Some(Host::Ipv6(address)) => address == Ipv6Addr::LOCALHOST,
        None => false,
    }
}
