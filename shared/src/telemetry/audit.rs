//! Audit events: who did what for whom, and what was decided. Never sampled, never mixed with the
//! request's line.

use super::request::RequestId;

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It was done.
    Allowed,
    /// It was refused.
    Refused,
}

/// One audited action. Set what is known; what is not stays out of the event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Audit<'a> {
    /// What was asked for: `mint`, `provision`, `sign_in`, …
    pub action: &'a str,
    /// The issuer of the caller's token.
    pub issuer: Option<&'a str>,
    /// The caller's subject at that issuer.
    pub subject: Option<&'a str>,
    /// The Flex user it was about.
    pub flex_user_sid: Option<&'a str>,
    /// Which rule decided, and over what.
    pub reason: Option<&'a str>,
}

impl Audit<'_> {
    /// Writes the event.
    pub fn write(&self, request_id: &RequestId, decision: Decision) {
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
            flex_user_sid = self.flex_user_sid,
            reason = self.reason,
            "audit"
        );
    }
}

/// Something that somebody should look at now: an `ERROR` line under a name that an alarm filters on.
pub fn alarm(request_id: &RequestId, name: &str, reason: &dyn std::fmt::Display) {
    tracing::error!(target: "flexgate::alarm", request_id = request_id.as_str(), alarm = name, reason = %reason, "alarm");
}
