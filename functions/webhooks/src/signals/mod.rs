//! Signals from identity systems. A signal is a security event ([`set`]), or a request to end all sessions of a person.
//! The identity system signs its signals, and publishes its public keys. A signal becomes a message in the queue, just
//! like other events.

pub(crate) mod set;
pub(crate) mod subject;

use flexgate::authn::{SignalToken, Transmitter};
use flexgate::domain::ledger::Source;
use flexgate::domain::{Action, EventId, IdentityEvent, Moment, PersonProfile, SourceName};
use flexgate::platform::Platform;
use flexgate::store::Message;
use time::OffsetDateTime;

use crate::signal_settings::{SignalKind, SignalSettings};
use subject::{NamedPerson, Namespace};

/// A configured source of signals.
#[derive(Debug)]
pub(crate) struct SignalSource {
    name: SourceName,
    settings: SignalSettings,
    transmitter: Transmitter,
}

impl SignalSource {
    pub(crate) fn new(name: &SourceName, settings: &SignalSettings, platform: &Platform) -> Self {
        let token = match settings.kind {
            SignalKind::Ssf => SignalToken::SecurityEvent,
            SignalKind::GlobalTokenRevocation => SignalToken::Revocation,
        };
        let transmitter = Transmitter::new(
            token,
            &settings.transmitter,
            &settings.audience,
            settings.jwks_uri.as_deref(),
            platform.http.clone(),
            platform.clock_rng.clone(),
        );
        Self { name: name.clone(), settings: settings.clone(), transmitter }
    }

    pub(crate) fn transmitter(&self) -> &Transmitter {
        &self.transmitter
    }

    pub(crate) fn name(&self) -> &SourceName {
        &self.name
    }

    pub(crate) fn kind(&self) -> SignalKind {
        self.settings.kind
    }

    /// The issuers of the ids by which this source may name people.
    pub(crate) fn namespace(&self) -> Namespace<'_> {
        Namespace { transmitter: &self.settings.transmitter, issuer: self.settings.issuer.as_deref() }
    }

    /// The webhook source that uses the same ids for people as this source of signals.
    pub(crate) fn people_of(&self) -> Option<Source> {
        self.settings.people_of.clone().map(Source::Webhook)
    }

    /// The event that a signal reports about a person.
    pub(crate) fn event(
        &self,
        id: EventId,
        person: NamedPerson,
        action: Action,
        occurred_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> IdentityEvent {
        IdentityEvent {
            id,
            source: self.name.clone(),
            occurred_at: Moment::counts_at(occurred_at, now),
            subject: person.subject,
            profile: PersonProfile { username: person.username, ..PersonProfile::default() },
            action,
            membership: None,
            directory: None,
            look_up: false,
        }
    }

    pub(crate) fn message(&self, event: IdentityEvent, reason: &str) -> Message {
        Message::Signal { event, people_of: self.people_of(), reason: reason.into() }
    }
}
