//! The identity of a person.

/// A person's identity: issuer and subject. An e-mail address never identifies a person, because some issuers let
/// people enter any address (CVE-2023-3128, "nOAuth").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The issuer of the verified token, as spelled in the settings.
    pub issuer: Box<str>,
    /// The claim `sub` of the verified token. The presets for Entra and Okta use other claims: `tid` and `oid`, or
    /// `uid`.
    pub subject: Box<str>,
}
