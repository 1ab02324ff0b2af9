//! Audit events: who requested which action on which user, and whether Flexgate allowed it. An audit event is separate
//! from the log line of the request.

use super::request::RequestId;

/// Whether the action was allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The action was allowed.
    Allowed,
    /// The action was refused.
    Refused,
}

/// One audited action. Fields that are `None` are left out of the event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Audit<'a> {
    /// The requested action: `mint`, `provision`, `sign_in`, …
    pub action: &'a str,
    /// The issuer of the caller's token.
    pub issuer: Option<&'a str>,
    /// The caller's subject at that issuer.
    pub subject: Option<&'a str>,
    /// The SID of the Flex user whom the action affects.
    pub flex_user_sid: Option<&'a str>,
    /// The reason for the decision: a stable code, or a short text.
    pub reason: Option<&'a str>,
}

impl Audit<'_> {
    /// Writes the event.
    pub fn write(&self, request_id: &RequestId, decision: Decision) {
        self.write_with_actor(None, request_id, decision);
    }

    /// Writes the event. `actor` is the subject of the party that acts on behalf of `subject` (RFC 8693 §4.1), or
    /// `None` if `subject` acts itself.
    pub fn write_with_actor(&self, actor: Option<&str>, request_id: &RequestId, decision: Decision) {
        tracing::info!(
            target: "flexgate::audit",
            request_id = request_id.as_str(),
            action = self.action,
            decision = match decision {
                Decision::Allowed => "allowed",
                Decision::Refused => "refused",
            },
            issuer = self.issuer,
            subject = self.subject,
            act = actor,
            flex_user_sid = self.flex_user_sid,
            reason = self.reason,
            "audit"
        );
    }
}

/// Reports a problem that an operator must handle now. Writes an `ERROR` line with a fixed name, for which a
/// `CloudWatch` alarm can be set up.
pub fn alarm(request_id: &RequestId, name: &str, reason: &dyn std::fmt::Display) {
    tracing::error!(target: "flexgate::alarm", request_id = request_id.as_str(), alarm = name, reason = %reason, "alarm");
}
