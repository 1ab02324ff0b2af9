//! Presets: the ways in which known issuers differ from a plain OIDC provider.

use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::fault::TokenFault;
use super::mistakes::Faults;
use super::token::TokenType;

const GOOGLE: &str = "https://accounts.google.com";
const GOOGLE_BARE: &str = "accounts.google.com";

/// The preset of an issuer. It determines the issuer's default settings and additional rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Any OIDC provider.
    #[default]
    Generic,
    /// Microsoft Entra ID. The issuer is `https://login.microsoftonline.com/{tenant id}/v2.0` or the tenant's v1
    /// issuer. The claim `tid` must be the tenant's id. The subject is `{tid}:{oid}`. The scopes come from `scp`. An
    /// e-mail address counts as verified only if `xms_edov` is true.
    Entra,
    /// An Okta custom authorization server. The scopes come from `scp` and the username from `sub`. A person's subject
    /// is `uid`, because the login in `sub` may change. A service's subject is `sub`.
    Okta,
    /// Auth0. The scopes come from `permissions`. `scope` is unsafe, because any application may request any scope.
    Auth0,
    /// Amazon Cognito. An access token's audience is its `client_id`. `token_use` is required. The username comes from
    /// `username`.
    Cognito,
    /// Google. ID tokens are accepted, because Google's access tokens are not JWTs. `hd` must be one of
    /// `hosted_domains`, and `email_verified` must be true. The username comes from `email`.
    Google,
}

/// A preset's default settings.
pub(super) struct Defaults {
    pub(super) scope_claim: &'static str,
    pub(super) username_claim: &'static str,
    pub(super) email_verified_claim: &'static str,
    pub(super) accept_id_tokens: bool,
}

impl Preset {
    pub(super) fn defaults(self) -> Defaults {
        let plain = Defaults {
            scope_claim: "scope",
            username_claim: "preferred_username",
            email_verified_claim: "email_verified",
            accept_id_tokens: false,
        };
        match self {
            Self::Generic => plain,
            Self::Entra => Defaults { scope_claim: "scp", email_verified_claim: "xms_edov", ..plain },
            Self::Okta => Defaults { scope_claim: "scp", username_claim: "sub", ..plain },
            Self::Auth0 => Defaults { scope_claim: "permissions", ..plain },
            Self::Cognito => Defaults { username_claim: "username", ..plain },
            Self::Google => Defaults { username_claim: "email", accept_id_tokens: true, ..plain },
        }
    }

    /// Returns the provider with this preset's rules. If the issuer's settings do not fit the preset, adds the mistake
    /// to `faults` and returns `None`.
    pub(super) fn provider(
        self,
        issuer: &str,
        url: &Url,
        hosted_domains: Vec<String>,
        faults: &mut Faults,
    ) -> Option<Provider> {
        if self != Self::Google && !hosted_domains.is_empty() {
            return faults.add("hosted_domains", "is only for the preset google");
        }
        match self {
            Self::Entra => match tenant(url) {
                Some(tenant) => Some(Provider::entra(tenant, url)),
                None => faults.add(
                    "issuer",
                    "must be https://login.microsoftonline.com/{tenant id}/v2.0 with one tenant's id: \
                     common and organizations stand for every tenant",
                ),
            },
            Self::Okta if !url.path().starts_with("/oauth2/") => faults.add(
                "issuer",
                "must be a custom authorization server, like https://example.okta.com/oauth2/default: \
                 the org server's access tokens are for Okta alone",
            ),
            Self::Auth0 if !issuer.ends_with('/') => faults.add("issuer", "must end with a slash, as Auth0 writes it"),
            Self::Google if issuer != GOOGLE => faults.add("issuer", format!("must be {GOOGLE}")),
            Self::Google if hosted_domains.is_empty() => {
                faults.add("hosted_domains", "must name at least one domain: any Google account would be accepted")
            }
            Self::Google => Some(Provider::Google { hosted_domains }),
            Self::Okta => Some(Provider::Okta),
            Self::Cognito => Some(Provider::Cognito),
            Self::Generic | Self::Auth0 => Some(Provider::Plain),
        }
    }
}

/// The maximum length of a subject, in bytes (OIDC Core §2).
pub(super) const MAX_SUBJECT: usize = 255;

/// Returns the tenant id from a path such as `/{tenant id}/v2.0`.
fn tenant(url: &Url) -> Option<&str> {
    url.path().strip_prefix('/')?.strip_suffix("/v2.0").filter(|tenant| is_guid(tenant))
}

/// Whether this is a GUID in lower case.
fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

/// One provider's additional rules for tokens.
#[derive(Debug, Clone)]
pub(super) enum Provider {
    Plain,
    Entra { tenant: Box<str>, v1_issuer: Option<Box<str>> },
    Okta,
    Cognito,
    Google { hosted_domains: Vec<String> },
}

/// Reads a string claim. Returns `None` if it is absent.
pub(super) fn text<'c>(claims: &'c Map<String, Value>, name: &'static str) -> Result<Option<&'c str>, TokenFault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenFault::Malformed(name)),
    }
}

/// Whether a claim is true. Some issuers write `1`, `"1"` or `"true"` instead of `true`.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() == Some(1.0),
        Value::String(text) => text == "1" || text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

fn required<'c>(claims: &'c Map<String, Value>, name: &'static str) -> Result<&'c str, TokenFault> {
    text(claims, name)?.ok_or(TokenFault::Missing(name))
}

impl Provider {
    fn entra(tenant: &str, url: &Url) -> Self {
        let is_public_cloud = url.host_str() == Some("login.microsoftonline.com");
        let v1_issuer = is_public_cloud.then(|| format!("https://sts.windows.net/{tenant}/").into());
        Self::Entra { tenant: tenant.into(), v1_issuer }
    }

    /// Returns the second value that the issuer uses as `iss`, if there is one.
    pub(super) fn other_spelling(&self) -> Option<&str> {
        match self {
            Self::Entra { v1_issuer, .. } => v1_issuer.as_deref(),
            Self::Google { .. } => Some(GOOGLE_BARE),
            Self::Plain | Self::Okta | Self::Cognito => None,
        }
    }

    /// Whether the token with these claims is an ID token. OIDC defines no reliable test, so each provider has a
    /// different one.
    pub(super) fn is_id_token(&self, token_type: TokenType, claims: &Map<String, Value>) -> Result<bool, TokenFault> {
        let has_any = |names: &[&str]| names.iter().any(|name| claims.contains_key(*name));
        let says = |name, value| claims.get(name).is_some_and(|claim| claim == value);
        Ok(match self {
            Self::Entra { .. } => !has_any(&["scp", "azp", "appid"]),
            Self::Okta => !has_any(&["cid"]),
            Self::Cognito => match required(claims, "token_use")? {
                "access" => false,
                "id" => true,
                _ => return Err(TokenFault::Malformed("token_use")),
            },
            Self::Google { .. } => true,
            Self::Plain if token_type == TokenType::AccessToken || says("typ", "Bearer") => false,
            Self::Plain => {
                has_any(&["nonce", "at_hash", "c_hash", "s_hash"]) || says("typ", "ID") || says("token_use", "id")
            }
        })
    }

    /// Converts a SCIM client's `externalId` to the subject that this provider uses for the same person. Returns `None`
    /// if the `externalId` cannot be a subject of this provider.
    pub(super) fn subject_of_external_id(&self, external_id: &str) -> Option<Box<str>> {
        if external_id.is_empty() || external_id.len() > MAX_SUBJECT || external_id.contains(char::is_control) {
            return None;
        }
        match self {
            Self::Entra { tenant, .. } => {
                let oid = external_id.to_ascii_lowercase();
                is_guid(&oid).then(|| format!("{tenant}:{oid}").into())
            }
            Self::Plain | Self::Okta | Self::Cognito | Self::Google { .. } => Some(external_id.into()),
        }
    }

    /// The claim that contains the audience.
    pub(super) fn audience_claim(&self, is_id_token: bool) -> &'static str {
        match self {
            Self::Cognito if !is_id_token => "client_id",
            _ => "aud",
        }
    }

    /// Applies this provider's rules, and returns the subject. The calling function has already checked `sub`.
    pub(super) fn subject(&self, sub: &str, claims: &Map<String, Value>) -> Result<Box<str>, TokenFault> {
        match self {
            Self::Plain | Self::Cognito => Ok(sub.into()),
            Self::Okta => match text(claims, "uid")? {
                Some("") => Err(TokenFault::Malformed("uid")),
                uid => Ok(uid.unwrap_or(sub).into()),
            },
            Self::Entra { tenant, .. } => {
                if required(claims, "tid")? != &**tenant {
                    return Err(TokenFault::Tenant);
                }
                match required(claims, "oid")? {
                    "" => Err(TokenFault::Malformed("oid")),
                    oid => Ok(format!("{tenant}:{oid}").into()),
                }
            }
            Self::Google { hosted_domains } => {
                let domain = text(claims, "hd")?;
                if !domain.is_some_and(|domain| hosted_domains.iter().any(|one| one == domain)) {
                    return Err(TokenFault::HostedDomain);
                }
                if !claims.get("email_verified").is_some_and(is_true) {
                    return Err(TokenFault::EmailUnverified);
                }
                Ok(sub.into())
            }
        }
    }
}
