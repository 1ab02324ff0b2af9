//! Storage for SCIM: data that SCIM must remember and for which Flex has no field.
//!
//! The Flex users themselves are stored only at Twilio. For each of them, this store has an entry with three things:
//! the identity system's own key (`externalId`), the attributes as the identity system wrote them, and whether the user
//! was deleted through SCIM. The store also holds the groups with their members, and locks for work that only one
//! process may do at a time. And it holds Twilio's tokens for pages of the user list, so that a client can begin in the
//! middle of the list. An entry or a group is written only if its version has not changed since it was read.

use std::fmt;

use async_trait::async_trait;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::StoreError;
use crate::domain::{FlexUserSid, Role, Username};

/// What SCIM remembers about one user.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The SCIM `id`: the SID that the Flex user had when Flexgate first saw it.
    pub id: FlexUserSid,
    /// The current Flex user. Differs from `id` only if Twilio gave a reactivated user a new SID.
    pub current: FlexUserSid,
    /// The username that Twilio has for the user.
    pub username: Username,
    /// The identity system's own key (`externalId`). It must never be used as an `id` (CVE-2025-41115).
    pub external_id: Option<String>,
    /// The writable attributes as the identity system last wrote them.
    pub asserted: Map<String, Value>,
    /// Whether the user was deleted through SCIM. In Twilio, such a user still exists but is deactivated.
    pub deleted: bool,
    /// The number of writes; 0 for an entry that is not stored yet.
    pub version: u64,
    /// When it was last written.
    pub updated_at: OffsetDateTime,
}

/// A user's place in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The member's SCIM `id`.
    pub user: FlexUserSid,
    /// Whether the identity system lists this member now. A member who has left the group stays stored for a while:
    /// until the member has been reconciled without the group's role, or until a job for this is queued.
    pub present: bool,
    /// The last role of this group with which the member has been reconciled, or for which a job has been queued to
    /// reconcile the member. If it differs from the role that the group gives now, the member must be reconciled again.
    pub announced: Option<Role>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The SCIM `id`.
    pub id: String,
    /// The name, unique regardless of case.
    pub display_name: String,
    /// The identity system's own key.
    pub external_id: Option<String>,
    /// The members. A person who has left the group stays in the list for a while: until the person has been reconciled
    /// without the group's role, or until a job for this is queued.
    pub members: Vec<Member>,
    /// The number of writes; 0 for a group that is not stored yet.
    pub version: u64,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// When it was last written.
    pub updated_at: OffsetDateTime,
}

/// A user's membership in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The user's SCIM `id`.
    pub user: FlexUserSid,
    /// The group's `id`.
    pub group: String,
    /// The group's name.
    pub display_name: String,
    /// Whether the identity system lists it.
    pub present: bool,
}

/// The outcome of writing a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupWritten {
    /// It was written.
    Yes,
    /// Another group has the name.
    NameTaken,
    /// Another writer changed or removed the group after it was read.
    Moved,
}

/// A piece of work that only one process may do at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The name of the work. Two pieces of work with the same name exclude each other.
    pub name: String,
    /// A random number that identifies the process that does the work, the holder. If the holder's time runs out,
    /// another process may begin the work and become the holder. The first process can then no longer end the work.
    pub holder: u128,
}

/// Whether this process may do a piece of work now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// This process may do the work. No other process may do it until the requested time.
    Yes {
        /// Whether [`ScimStore::intend`] was called earlier for work with this name. If so, somebody may already have
        /// done a part of it.
        intended: bool,
    },
    /// No: another process may do the work until this time.
    Held(OffsetDateTime),
}

/// A page mark: where a page begins in the list of users, and Twilio's token for that page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The 1-based index of the first user of the page.
    pub index: u64,
    /// Twilio's token for the page.
    pub token: String,
}

/// The data that SCIM remembers.
#[async_trait]
pub trait ScimStore: fmt::Debug + Send + Sync {
    /// Returns the entry with that `id`.
    async fn entry(&self, id: &FlexUserSid) -> Result<Option<Entry>, StoreError>;

    /// Returns the entries whose `id` or `current` is one of these Flex users.
    async fn entries(&self, users: &[FlexUserSid]) -> Result<Vec<Entry>, StoreError>;

    /// Returns the entry with that username, regardless of case.
    async fn entry_named(&self, username: &Username) -> Result<Option<Entry>, StoreError>;

    /// Returns the entries with that `externalId`.
    async fn entries_of_external_id(&self, external_id: &str) -> Result<Vec<Entry>, StoreError>;

    /// Stores the entry if the stored version has not changed. In the same transaction, removes the record of the work
    /// `finishes`. Returns false if the stored version has changed, or if another process has begun the work.
    async fn put_entry(&self, entry: &Entry, finishes: Option<&Work>) -> Result<bool, StoreError>;

    /// Returns the group with that `id`.
    async fn group(&self, id: &str) -> Result<Option<Group>, StoreError>;

    /// Returns the group with that name, regardless of case.
    async fn group_named(&self, display_name: &str) -> Result<Option<Group>, StoreError>;

    /// Returns at most `limit` groups in the order of their ids. Begins after the id `after`, and leaves out the first
    /// `skip` groups from there.
    async fn groups(&self, after: &str, skip: u64, limit: u64) -> Result<Vec<Group>, StoreError>;

    /// Returns the number of groups.
    async fn count_groups(&self) -> Result<u64, StoreError>;

    /// Stores the group and its members, if the stored version has not changed.
    async fn put_group(&self, group: &Group) -> Result<GroupWritten, StoreError>;

    /// Removes the group and its members.
    async fn remove_group(&self, id: &str) -> Result<(), StoreError>;

    /// Returns the memberships of these users.
    async fn memberships(&self, users: &[FlexUserSid]) -> Result<Vec<Membership>, StoreError>;

    /// Ends every membership of a user.
    async fn leave_all(&self, user: &FlexUserSid) -> Result<(), StoreError>;

    /// Requests the exclusive right to do `work` until `until`. If the process has this right already, the right now
    /// lasts until the new `until`.
    async fn begin(&self, work: &Work, now: OffsetDateTime, until: OffsetDateTime) -> Result<Begun, StoreError>;

    /// Records that the work is about to be done. The caller must do this before the first step of the work. Returns
    /// false if the caller no longer has the right to do the work.
    async fn intend(&self, work: &Work) -> Result<bool, StoreError>;

    /// Gives up the right to do the work, so that another process may begin it. If [`ScimStore::intend`] was called for
    /// this work, the store still remembers that call. Does nothing if another process has begun the work already.
    async fn abandon(&self, work: &Work) -> Result<(), StoreError>;

    /// Removes the record of the work, because the work is done. Does nothing if another process has begun the work.
    async fn finish(&self, work: &Work) -> Result<(), StoreError>;

    /// Returns the page mark with the largest index that is at most `index`.
    async fn mark_before(&self, index: u64, now: OffsetDateTime) -> Result<Option<Mark>, StoreError>;

    /// Stores a mark until `until`.
    async fn put_mark(&self, mark: &Mark, until: OffsetDateTime) -> Result<(), StoreError>;

    /// Returns how many users Flex had at the last complete walk over all users. Returns `None` if this is not known or
    /// too old.
    async fn total(&self, now: OffsetDateTime) -> Result<Option<u64>, StoreError>;

    /// Stores the number of users until `until`.
    async fn put_total(&self, total: u64, until: OffsetDateTime) -> Result<(), StoreError>;

    /// Discards the page marks and the number of users. Call this if the list of users has changed.
    async fn forget_marks(&self) -> Result<(), StoreError>;
}

pub use crate::domain::folded;
