//! The settings of a source of signals: an entry in `FLEXGATE_WEBHOOKS` of the kind `ssf` or `global-token-revocation`.

use std::collections::BTreeMap;

use flexgate::domain::SourceName;
use serde::Deserialize;

/// How a source sends signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignalKind {
    /// Security event tokens of the Shared Signals Framework, which the source pushes to Flexgate (RFC 8935).
    Ssf,
    /// Global Token Revocation, which Okta calls Universal Logout.
    GlobalTokenRevocation,
}

/// The checked settings of a source of signals.
#[derive(Debug, Clone)]
pub struct SignalSettings {
    /// The kind.
    pub kind: SignalKind,
    /// The `iss` of the source's tokens. Flexgate also finds the source's keys from this URL.
    pub transmitter: String,
    /// The `aud` of the source's tokens.
    pub audience: String,
    /// The URL of the source's keys, if the source's metadata does not contain it.
    pub jwks_uri: Option<String>,
    /// The issuer whose tokens use this source's person ids as `sub`. Default: the transmitter.
    pub issuer: Option<Box<str>>,
    /// The webhook source that uses the same ids for people as this source.
    pub people_of: Option<SourceName>,
    /// The meanings of event types. These meanings override the defaults. A key is the URI of an event type, or the
    /// part of that URI after the last slash.
    pub events: BTreeMap<String, SignalMeaning>,
}

/// What a signal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalMeaning {
    /// The person's sessions have ended.
    EndSessions,
    /// The person's account is disabled.
    Deactivate,
    /// The person's account is enabled again.
    Restore,
    /// Nothing changes.
    Ignore,
}
