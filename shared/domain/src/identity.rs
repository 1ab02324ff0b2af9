//! Who a person is.

/// The key that identifies a person: the issuer and the subject. An e-mail address must never be the key. If it were,
/// anyone who can edit their own address at the issuer could pose as somebody else (CVE-2023-3128, "nOAuth").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The issuer of the verified token: its `iss` as the settings spell it.
    pub issuer: Box<str>,
    /// The `sub` of the verified token. For Entra, the token's `tid` and `oid`.
    pub subject: Box<str>,
}
