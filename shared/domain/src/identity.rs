//! The identity of a person.

/// A person's identity: issuer and subject. An e-mail address never identifies a person, because some issuers let
/// people enter any address (CVE-2023-3128, "nOAuth").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The issuer of the verified token, as spelled in the settings.
    pub issuer: Box<str>,
    /// The claim `sub` of the verified token. With the preset for Entra, the subject comes from `tid` and `oid`
    /// instead, and with the preset for Okta, from `uid`.
    pub subject: Box<str>,
}
