//! Converts a source's reports about people to messages for the queue.

use flexgate::base::clock_rng::ClockRng;
use flexgate::domain::{Action, EventId, IdentityEvent, Moment, NameError, PersonProfile, SourceName, Subject};
use flexgate::store::{Ended, Message};
use ring::digest;
use serde_json::Value;
use time::OffsetDateTime;

use crate::catalogue::Row;
use crate::settings::EventMeaning;

/// What a source reports about one person.
pub(crate) struct Draft {
    pub(crate) id: Option<String>,
    pub(crate) occurred_at: Option<OffsetDateTime>,
    pub(crate) subject: Option<String>,
    pub(crate) meaning: EventMeaning,
    /// The group or application of a membership event. `None` if the event concerns the person's whole access.
    pub(crate) membership: Option<String>,
    /// The person's directory or organisation, if the source names one.
    pub(crate) directory: Option<String>,
    pub(crate) profile: Result<PersonProfile, NameError>,
}

/// The messages read from one delivery, and how many of its items led to no message.
#[derive(Debug)]
pub(crate) struct Reading<'r> {
    name: &'r SourceName,
    issuer: Option<&'r str>,
    now: OffsetDateTime,
    clock_rng: &'r ClockRng,
    pub(crate) messages: Vec<Message>,
    /// The number of events whose type Flexgate ignores.
    pub(crate) ignored: usize,
    /// The ignored events that may have changed who has access: each event's type, and the type's row in the catalogue
    /// (`catalogue.rs`).
    pub(crate) relevant: Vec<(String, &'static Row)>,
    /// The number of items without the source's secret. Microsoft Graph puts the secret into each item of a delivery.
    pub(crate) dropped: usize,
}

impl<'r> Reading<'r> {
    pub(crate) fn new(
        name: &'r SourceName,
        issuer: Option<&'r str>,
        now: OffsetDateTime,
        clock_rng: &'r ClockRng,
    ) -> Self {
        Self { name, issuer, now, clock_rng, messages: Vec::new(), ignored: 0, relevant: Vec::new(), dropped: 0 }
    }

    /// The issuer whose tokens use this source's person ids as `sub`.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.issuer
    }

    /// Returns a random id, for an event without an id.
    pub(crate) fn fresh_id(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.clock_rng.random()))
    }

    /// Counts an event with an ignored type.
    pub(crate) fn ignore(&mut self) {
        self.ignored += 1;
    }

    /// Counts an ignored event that may have changed who has access.
    pub(crate) fn ignore_relevant(&mut self, kind: &str, row: &'static Row) {
        self.ignored += 1;
        self.relevant.push((kind.to_owned(), row));
    }

    /// Adds a message which says that a group, an application or a directory was deleted or deactivated. `said` is the
    /// whole event. If the event has no id or no time, or does not say what has ended, adds a dead letter that contains
    /// `said` instead.
    pub(crate) fn end(&mut self, id: Option<&str>, at: Option<OffsetDateTime>, ended: Option<Ended>, said: &Value) {
        let event = id.and_then(|id| id.parse().ok());
        let (Some(event), Some(at), Some(ended)) = (event, at, ended) else {
            return self.misshapen("the event lacks its id, its time, or what has ended", said);
        };
        let occurred_at = Moment::counts_at(at, self.now);
        self.messages.push(Message::Ended { source: self.name.clone(), event, occurred_at, ended, after: None });
    }

    /// Counts an item without a valid proof.
    pub(crate) fn drop_item(&mut self) {
        self.dropped += 1;
    }

    /// Adds an event about a person. `said` is the source's whole report. If the report is unusable, adds a dead letter
    /// that contains `said`. A second delivery would not help, because it would contain the same report.
    pub(crate) fn say(&mut self, draft: &Draft, said: &Value) {
        let message = match self.event(draft) {
            Ok(event) if event.action == Action::EndSessions => {
                Message::Signal { event, people_of: None, reason: "end_sessions".into() }
            }
            Ok(event) => Message::Event(event),
            Err(reason) => self.unreadable(draft.id.as_deref(), reason, said),
        };
        self.messages.push(message);
    }

    /// Adds a dead letter for an item in an unexpected format.
    pub(crate) fn misshapen(&mut self, reason: &str, said: &Value) {
        let message = self.unreadable(None, reason.to_owned(), said);
        self.messages.push(message);
    }

    fn event(&self, draft: &Draft) -> Result<IdentityEvent, String> {
        let id = draft.id.as_ref().ok_or("the event has no id")?;
        let subject = draft.subject.as_ref().ok_or("the event names no subject")?;
        let occurred_at = draft.occurred_at.ok_or("the event has no time that can be read")?;
        let profile = draft.profile.as_ref().map_err(|error| format!("the event's username {error}"))?;
        Ok(IdentityEvent {
            id: id.parse().map_err(|error| format!("the event's id {error}"))?,
            source: self.name.clone(),
            occurred_at: Moment::counts_at(occurred_at, self.now),
            subject: Subject {
                id: subject.parse().map_err(|error| format!("the event's subject {error}"))?,
                issuer: self.issuer.map(Into::into),
            },
            profile: profile.clone(),
            action: match draft.meaning {
                EventMeaning::Upsert => Action::Upsert,
                EventMeaning::Refresh | EventMeaning::LookUp => Action::Refresh,
                EventMeaning::Restore => Action::Restore,
                EventMeaning::Deactivate => Action::Deactivate,
                EventMeaning::EndSessions => Action::EndSessions,
                EventMeaning::Ignore => return Err("the event changes nothing".to_owned()),
            },
            membership: draft.membership.as_deref().map(Into::into),
            directory: draft.directory.as_deref().map(Into::into),
            look_up: draft.meaning == EventMeaning::LookUp,
        })
    }

    fn unreadable(&self, id: Option<&str>, reason: String, said: &Value) -> Message {
        // If the item has no usable id, derive one from its content. If the source delivers the item again, the item
        // gets the same id, and does not create a second dead letter.
        let id = id.and_then(|id| id.parse().ok()).unwrap_or_else(|| content_id(said));
        Message::Unreadable { source: self.name.clone(), id, reason, document: said.clone() }
    }
}

/// Derives an id from a digest of the item.
fn content_id(said: &Value) -> EventId {
    let digest = digest::digest(&digest::SHA256, said.to_string().as_bytes());
    let first = digest.as_ref().first_chunk().copied().unwrap_or_default();
    EventId::from(u128::from_be_bytes(first))
}
