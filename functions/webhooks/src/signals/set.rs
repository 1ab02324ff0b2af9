//! Reads a security event token (RFC 8417) of the Shared Signals Framework.

use flexgate::authn::SignalClaims;
use flexgate::domain::Action;
use flexgate::store::Message;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::SignalSource;
use super::subject::{self, SubjectFault};
use crate::catalogue::{self, Row};
use crate::mapping::instant;
use crate::signal_settings::SignalMeaning;

/// What a token says.
#[derive(Debug)]
pub(crate) enum Read {
    /// The event to queue.
    Signal(Box<Message>),
    /// The transmitter has tested the stream.
    Verification,
    /// Flexgate does not act on this event. The first value is the event's type. If an administrator must get a note
    /// about the event, the second value is the type's row in the [`catalogue`].
    Ignored(String, Option<&'static Row>),
}

/// Why a token cannot be read, although its signature is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SetFault {
    #[error("the claim jti must have 1 to 256 bytes and no control characters")]
    Id,
    #[error("the claim events must contain exactly one event")]
    Events,
    #[error(transparent)]
    Subject(#[from] SubjectFault),
}

/// Reads a verified token.
pub(crate) fn read(source: &SignalSource, token: &SignalClaims, now: OffsetDateTime) -> Result<Read, SetFault> {
    let id = token.jti.parse().map_err(|_| SetFault::Id)?;
    let events = token.claims.get("events").and_then(Value::as_object).ok_or(SetFault::Events)?;
    let mut events = events.iter();
    let (Some((kind, Value::Object(event))), None) = (events.next(), events.next()) else {
        return Err(SetFault::Events);
    };
    let short = kind.rsplit('/').next().unwrap_or_default();
    let row = catalogue::find(catalogue::SSF, kind);
    if row.is_some() && short == "verification" {
        return Ok(Read::Verification);
    }
    let configured = &source.settings.events;
    let meaning = configured.get(kind).or_else(|| configured.get(short)).copied();
    let action = match meaning.or_else(|| row.and_then(|_| default_meaning(short))) {
        Some(SignalMeaning::EndSessions) if applies(short, event) => Action::EndSessions,
        Some(SignalMeaning::Deactivate) if applies(short, event) => Action::Deactivate,
        Some(SignalMeaning::Restore) => Action::Restore,
        Some(SignalMeaning::EndSessions | SignalMeaning::Deactivate | SignalMeaning::Ignore) => {
            return Ok(Read::Ignored(kind.clone(), None));
        }
        None => return Ok(Read::Ignored(kind.clone(), row)),
    };
    // The token's claims contain the subject. In early drafts of the Shared Signals Framework, the event contains it.
    let identifier = token.claims.get("sub_id").or_else(|| event.get("subject")).ok_or(SubjectFault::Malformed)?;
    let person = subject::read(identifier, source.namespace())?;
    let at = event.get("event_timestamp").and_then(instant).or_else(|| token.claims.get("toe").and_then(instant));
    let event = source.event(id, person, action, at.unwrap_or(token.issued_at), now);
    Ok(Read::Signal(Box::new(source.message(event, short))))
}

/// Returns the default meaning of an event type that the settings do not mention.
fn default_meaning(short: &str) -> Option<SignalMeaning> {
    match short {
        "session-revoked" | "sessions-revoked" | "credential-change" | "device-compliance-change" => {
            Some(SignalMeaning::EndSessions)
        }
        "account-disabled" | "account-purged" => Some(SignalMeaning::Deactivate),
        "account-enabled" => Some(SignalMeaning::Restore),
        _ => None,
    }
}

/// Whether the event reports a loss of access or trust. Some types can also report the opposite, for example that a
/// device is compliant again. Such an event changes nothing.
fn applies(short: &str, event: &Map<String, Value>) -> bool {
    let says = |name: &str, value: &str| event.get(name).and_then(Value::as_str) == Some(value);
    match short {
        "credential-change" => says("change_type", "revoke"),
        "device-compliance-change" => says("current_status", "not-compliant"),
        _ => true,
    }
}
