//! Reads `FLEXGATE_WEBHOOKS`, a JSON object with one member per source. A member's name is the last part of the
//! source's URL. `docs/webhooks.md` describes every field.

use std::collections::{BTreeMap, BTreeSet};

use flexgate::authn::Transmitter;
use flexgate::base::settings::Reader;
use flexgate::base::strict_json;
use flexgate::domain::{Role, SourceName};
use flexgate::platform::Common;
use http::HeaderName;
use serde::Deserialize;
use url::Url;

use crate::signal_settings::{SignalKind, SignalMeaning, SignalSettings};

/// The function's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The settings common to every function.
    pub common: Common,
    /// The sources.
    pub webhooks: WebhookSettings,
}

impl Settings {
    /// Reads the settings of the function when it runs alone. It then needs at least one source. The gateway needs
    /// none, and reads only [`WebhookSettings`].
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let (common, webhooks) = (Common::read(reader), WebhookSettings::read(reader));
        if webhooks.as_ref().is_some_and(|settings| settings.sources.is_empty() && settings.signals.is_empty()) {
            return reader.wrong(VARIABLE, "is not set: a JSON object of webhook sources, like {\"okta\": {}}");
        }
        Some(Self { common: common?, webhooks: webhooks? })
    }
}

/// The sources of webhooks.
#[derive(Debug, Clone, Default)]
pub struct WebhookSettings {
    /// `WEBHOOK_SECRETS_SECRET_ID`: required if any source authenticates with a secret.
    pub secret_id: String,
    /// `FLEXGATE_WEBHOOKS`: the sources that authenticate deliveries with a secret.
    pub sources: BTreeMap<SourceName, SourceSettings>,
    /// `FLEXGATE_WEBHOOKS`: the sources that send signed signals.
    pub signals: BTreeMap<SourceName, SignalSettings>,
}

const VARIABLE: &str = "FLEXGATE_WEBHOOKS";

impl WebhookSettings {
    /// Reads this group of settings. Without `FLEXGATE_WEBHOOKS`, there are no sources.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let (sources, signals) = reader.optional(VARIABLE, sources)?.unwrap_or_default();
        // Signals need no secret, because the sender signs them and publishes its public keys.
        if sources.is_empty() {
            return Some(Self { signals, ..Self::default() });
        }
        let hint = "the secret with each webhook source's secret";
        Some(Self { secret_id: reader.required("WEBHOOK_SECRETS_SECRET_ID", hint)?, sources, signals })
    }
}

type Sources = (BTreeMap<SourceName, SourceSettings>, BTreeMap<SourceName, SignalSettings>);

fn sources(text: &str) -> Result<Sources, String> {
    let document = strict_json::parse(text.as_bytes()).map_err(|error| format!("is {error}"))?;
    let documents: BTreeMap<String, SourceDocument> =
        serde_json::from_value(document).map_err(|error| format!("is not a JSON object of sources: {error}"))?;
    let (mut sources, mut signals) = Sources::default();
    for (name, document) in documents {
        let parsed: SourceName = name.parse().map_err(|error| format!("names a source that {error}"))?;
        let mistake = |fault| format!("has a mistake in {parsed}: {fault}");
        match document.kind(&parsed).map_err(mistake)? {
            AnyKind::Secret(kind) => {
                let settings = document.checked(kind).map_err(mistake)?;
                sources.insert(parsed, settings);
            }
            AnyKind::Signed(kind) => {
                let settings = document.signals(kind).map_err(mistake)?;
                signals.insert(parsed, settings);
            }
        }
    }
    for (name, settings) in &signals {
        if settings.people_of.as_ref().is_some_and(|other| !sources.contains_key(other)) {
            return Err(format!("has a mistake in {name}: {}", SourceFault::PeopleOf));
        }
    }
    Ok((sources, signals))
}

/// The kind of a source. The kinds differ in how they authenticate deliveries, and in their event formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Sources that use the signatures of Standard Webhooks or Svix. The payload has Clerk's format, or the
    /// simpler format that `docs/webhooks.md` describes.
    Standard,
    /// Okta event hooks.
    Okta,
    /// Auth0 event streams.
    Auth0,
    /// `WorkOS` directory sync.
    Workos,
    /// `FusionAuth`.
    Fusionauth,
    /// Zitadel actions.
    Zitadel,
    /// Microsoft Graph change notifications.
    Graph,
    /// Sources that use the signatures of Standard Webhooks, with any other payload. The configuration describes the
    /// payload.
    Generic,
}

/// The kind of a source. The source either has a secret or sends signed signals.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum AnyKind {
    /// Flexgate verifies the source's deliveries with a secret.
    Secret(Kind),
    /// The source sends signals. It signs them, and publishes its public keys.
    Signed(SignalKind),
}

/// What is wrong with a source's settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceFault {
    /// The settings do not specify a kind, and the source's name, which is the default, is not a kind either.
    #[error(
        "\"kind\" must be one of standard, okta, auth0, workos, fusionauth, zitadel, graph, generic, ssf and \
         global-token-revocation"
    )]
    Kind,
    /// The issuer is not a URL with a scheme.
    #[error("\"issuer\" must be the issuer's URL, as it stands in its tokens")]
    Issuer,
    /// The value of `header` is not a valid header name.
    #[error("\"header\" must be a header's name")]
    Header,
    /// A value in `map` is not a JSON pointer.
    #[error("\"map\" holds something that is not a JSON pointer like /data/id")]
    Pointer,
    /// A value in `role_map` is not a role of Flex.
    #[error("\"role_map\" must map to agent, supervisor or admin")]
    Role,
    /// A source of the kind `generic` lacks `events`, or its `map` lacks a required field.
    #[error("a generic source needs \"events\", and \"map\" with type, subject, occurred_at and username")]
    Generic,
    /// A source of signals lacks a required setting.
    #[error("a source of signals needs \"transmitter\", the URL in its tokens' iss, and \"audience\"")]
    Signals,
    /// The URL of a transmitter or of its keys cannot be used.
    #[error("\"{0}\" {1}")]
    Address(&'static str, &'static str),
    /// `people_of` does not name a source.
    #[error("\"people_of\" must be the name of another webhook source, which has a secret")]
    PeopleOf,
    /// The setting has no effect for this kind of source.
    #[error("\"{0}\" means nothing to this kind of source")]
    Meaningless(&'static str),
}

/// A source's settings, checked.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// The kind.
    pub kind: Kind,
    /// The issuer whose tokens use this source's person ids as `sub`.
    pub issuer: Option<Box<str>>,
    /// The header that carries the shared secret.
    pub header: HeaderName,
    /// Groups and applications whose members become Flex users. If empty, everybody at the source becomes a Flex user.
    pub members_of: BTreeSet<String>,
    /// JSON pointers to fields in the payload. They override the defaults of the source's kind.
    pub map: BTreeMap<ProfileField, String>,
    /// The source's names for Flex's roles.
    pub role_map: BTreeMap<String, Role>,
    /// The meanings of event types. They override the defaults of the source's kind.
    pub events: BTreeMap<String, EventMeaning>,
}

/// A field that a payload can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileField {
    /// The event's type.
    Type,
    /// The person's subject identifier.
    Subject,
    /// When the event occurred.
    OccurredAt,
    /// The Flex username.
    Username,
    /// The e-mail address.
    Email,
    /// Whether the e-mail address is verified.
    EmailVerified,
    /// The full name.
    FullName,
    /// The given name.
    GivenName,
    /// The family name.
    FamilyName,
    /// The roles: a string or a list of strings.
    Roles,
    /// Whether the person is active.
    Active,
}

/// What an event's type means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventMeaning {
    /// The person is an active user.
    Upsert,
    /// The person may have changed.
    Refresh,
    /// The person is no longer suspended. Only the kinds `okta` and `workos` use this meaning. They do not have the
    /// setting `events`, so that setting cannot contain this meaning.
    #[serde(skip)]
    Restore,
    /// The person has changed, but the event does not say how. So Flexgate looks the person up at Microsoft Graph. Only
    /// the kind `graph` uses this meaning. It does not have the setting `events`, so that setting cannot contain this
    /// meaning.
    #[serde(skip)]
    LookUp,
    /// The person is no longer an active user.
    Deactivate,
    /// The person's sessions that began at or before the time of the event have ended. The person keeps their access.
    EndSessions,
    /// The event changes nothing.
    Ignore,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceDocument {
    kind: Option<AnyKind>,
    issuer: Option<String>,
    transmitter: Option<String>,
    audience: Option<String>,
    jwks_uri: Option<String>,
    people_of: Option<SourceName>,
    header: Option<String>,
    #[serde(default)]
    members_of: BTreeSet<String>,
    #[serde(default)]
    map: BTreeMap<ProfileField, String>,
    #[serde(default)]
    role_map: BTreeMap<String, String>,
    #[serde(default)]
    events: BTreeMap<String, EventMeaning>,
}

impl SourceDocument {
    /// Returns the kind in the settings. If there is none, the source's name is the kind.
    fn kind(&self, name: &SourceName) -> Result<AnyKind, SourceFault> {
        let named = || serde_json::from_value(serde_json::Value::from(name.as_str())).map_err(|_| SourceFault::Kind);
        self.kind.map_or_else(named, Ok)
    }

    fn signals(self, kind: SignalKind) -> Result<SignalSettings, SourceFault> {
        for (given, field) in [
            (self.header.is_some(), "header"),
            (!self.members_of.is_empty(), "members_of"),
            (!self.map.is_empty(), "map"),
            (!self.role_map.is_empty(), "role_map"),
            (kind == SignalKind::GlobalTokenRevocation && !self.events.is_empty(), "events"),
        ] {
            if given {
                return Err(SourceFault::Meaningless(field));
            }
        }
        if self.issuer.as_ref().is_some_and(|issuer| Url::parse(issuer).is_err()) {
            return Err(SourceFault::Issuer);
        }
        let (Some(transmitter), Some(audience)) = (self.transmitter, self.audience) else {
            return Err(SourceFault::Signals);
        };
        Transmitter::check_address(&transmitter).map_err(|why| SourceFault::Address("transmitter", why))?;
        if let Some(uri) = &self.jwks_uri {
            Transmitter::check_address(uri).map_err(|why| SourceFault::Address("jwks_uri", why))?;
        }
        let meanings = self.events.into_iter().map(|(name, meaning)| Ok((name, signal_meaning(meaning)?)));
        let events = meanings.collect::<Result<_, SourceFault>>()?;
        let issuer = self.issuer.map(Into::into);
        let jwks_uri = self.jwks_uri;
        Ok(SignalSettings { kind, transmitter, audience, jwks_uri, issuer, people_of: self.people_of, events })
    }

    fn checked(self, kind: Kind) -> Result<SourceSettings, SourceFault> {
        if self.issuer.as_ref().is_some_and(|issuer| Url::parse(issuer).is_err()) {
            return Err(SourceFault::Issuer);
        }
        let header = self.header.as_deref().unwrap_or("authorization");
        let header = HeaderName::from_bytes(header.as_bytes()).map_err(|_| SourceFault::Header)?;
        if self.map.values().any(|pointer| !pointer.starts_with('/')) {
            return Err(SourceFault::Pointer);
        }
        let role = |(name, role): (String, String)| Ok((name, role.parse().map_err(|_| SourceFault::Role)?));
        let has = |place| self.map.contains_key(&place);
        let needed = [ProfileField::Type, ProfileField::Subject, ProfileField::OccurredAt, ProfileField::Username];
        if kind == Kind::Generic && (self.events.is_empty() || !needed.into_iter().all(has)) {
            return Err(SourceFault::Generic);
        }
        let by_header = matches!(kind, Kind::Okta | Kind::Auth0);
        let by_member = matches!(kind, Kind::Okta | Kind::Workos | Kind::Fusionauth);
        let by_type = matches!(kind, Kind::Generic | Kind::Standard);
        for (given, means, field) in [
            (self.header.is_some(), by_header, "header"),
            (!self.members_of.is_empty(), by_member, "members_of"),
            (!self.events.is_empty(), by_type, "events"),
            (!self.map.is_empty(), kind != Kind::Graph, "map"),
            (self.transmitter.is_some(), false, "transmitter"),
            (self.audience.is_some(), false, "audience"),
            (self.jwks_uri.is_some(), false, "jwks_uri"),
            (self.people_of.is_some(), false, "people_of"),
            (self.events.values().any(|meaning| *meaning == EventMeaning::Ignore), false, "ignore"),
        ] {
            if given && !means {
                return Err(SourceFault::Meaningless(field));
            }
        }
        Ok(SourceSettings {
            kind,
            issuer: self.issuer.map(Into::into),
            header,
            members_of: self.members_of,
            map: self.map,
            role_map: self.role_map.into_iter().map(role).collect::<Result<_, _>>()?,
            events: self.events,
        })
    }
}

fn signal_meaning(meaning: EventMeaning) -> Result<SignalMeaning, SourceFault> {
    match meaning {
        EventMeaning::EndSessions => Ok(SignalMeaning::EndSessions),
        EventMeaning::Deactivate => Ok(SignalMeaning::Deactivate),
        EventMeaning::Ignore => Ok(SignalMeaning::Ignore),
        EventMeaning::Refresh => Err(SourceFault::Meaningless("refresh")),
        EventMeaning::Upsert | EventMeaning::Restore | EventMeaning::LookUp => Err(SourceFault::Meaningless("upsert")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<WebhookSettings, String> {
        let mut reader = Reader::empty().with([(VARIABLE, text), ("WEBHOOK_SECRETS_SECRET_ID", "webhook-secrets")]);
        let settings = WebhookSettings::read(&mut reader);
        reader.finish(settings).map_err(|error| error.to_string())
    }

    #[test]
    fn a_source_is_of_the_kind_it_is_named_after_or_says() {
        let settings = read(r#"{"okta": {}, "clerk-eu": {"kind": "standard"}}"#).unwrap();
        let kinds: Vec<_> = settings.sources.values().map(|source| source.kind).collect();
        assert_eq!(kinds, [Kind::Standard, Kind::Okta]);
    }

    #[test]
    fn without_the_variable_there_are_no_sources_and_no_secret_is_needed() {
        let mut reader = Reader::empty();
        let settings = WebhookSettings::read(&mut reader);
        assert!(reader.finish(settings).unwrap().sources.is_empty());
    }

    #[test]
    fn a_mistake_is_named_with_the_variable_and_the_source() {
        for (text, says) in [
            ("[]", "is not a JSON object of sources"),
            (r#"{"okta": {}, "okta": {"header": "x-secret"}}"#, "a member is repeated"),
            (r#"{"okta": {"role_map": {"a": "agent", "a": "admin"}}}"#, "a member is repeated"),
            (r#"{"clerk": {}}"#, "clerk: \"kind\" must be one of"),
            (r#"{"Okta": {}}"#, "lower-case letters"),
            (r#"{"okta": {"secret": "x"}}"#, "unknown field `secret`"),
            (r#"{"okta": {"issuer": "corp"}}"#, "okta: \"issuer\""),
            (r#"{"okta": {"header": "not a header"}}"#, "okta: \"header\""),
            (r#"{"okta": {"map": {"username": "data.id"}}}"#, "JSON pointer"),
            (r#"{"okta": {"role_map": {"staff": "owner"}}}"#, "role_map"),
            (r#"{"auth0": {"members_of": ["a"]}}"#, "\"members_of\" means nothing"),
            (r#"{"hr": {"kind": "generic"}}"#, "a generic source needs"),
            (r#"{"okta": {"audience": "a"}}"#, "\"audience\" means nothing"),
            (r#"{"standard": {"events": {"a": "ignore"}}}"#, "\"ignore\" means nothing"),
            (r#"{"ssf": {}}"#, "a source of signals needs"),
            (r#"{"ssf": {"transmitter": "https://idp.example"}}"#, "a source of signals needs"),
            (r#"{"ssf": {"transmitter": "http://idp.example", "audience": "a"}}"#, "\"transmitter\" must be https"),
            (
                r#"{"ssf": {"transmitter": "https://idp.example", "audience": "a", "jwks_uri": "keys"}}"#,
                "\"jwks_uri\" must be a URL",
            ),
            (
                r#"{"ssf": {"transmitter": "https://idp.example", "audience": "a", "people_of": "okta"}}"#,
                "\"people_of\" must be",
            ),
            (
                r#"{"ssf": {"transmitter": "https://idp.example", "audience": "a", "events": {"b": "upsert"}}}"#,
                "\"upsert\" means nothing",
            ),
            (
                r#"{"ssf": {"transmitter": "https://idp.example", "audience": "a", "role_map": {"a": "agent"}}}"#,
                "\"role_map\" means nothing",
            ),
            (
                r#"{"a": {"kind": "global-token-revocation", "transmitter": "https://idp.example", "audience": "a",
                   "events": {"b": "ignore"}}}"#,
                "\"events\" means nothing",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(VARIABLE) && error.contains(says), "{text}: {error}");
        }
    }
}
