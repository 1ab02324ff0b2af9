//! Storage for SCIM: data that SCIM must remember and for which Flex has no field.
//!
//! Twilio stays the source of truth about users. For each user this store holds the identity system's own key
//! (`externalId`), the attributes as the identity system wrote them, and a tombstone after a deletion. It also holds
//! groups with their members, work in progress, and the start of each page of a long list. Every write of an entry or a
//! group is conditional on the version that was read.

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
    /// Whether the identity system lists this member. A member who has left stays stored until they have been
    /// reconciled without the group's role, or until a job for that is queued.
    pub present: bool,
    /// The role from this group that has been announced for the member. "Announced" means that the member has been
    /// reconciled with the role, or that a job for it is queued.
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
    /// The members. A person who has left stays in the list until they have been reconciled without the group's role,
    /// or until a job for that is queued.
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
    /// A random number that identifies the process that does the work. If a holder's time has run out, another holder
    /// may have replaced it. The first holder can then no longer end the work.
    pub holder: u128,
}

/// Whether this holder may do a piece of work now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// This holder may do the work. No other holder may until the given time.
    Yes {
        /// Whether [`ScimStore::intend`] was called for this work earlier. If so, an earlier attempt may have done part
        /// of it.
        intended: bool,
    },
    /// No: another holder may do the work until this time.
    Held(OffsetDateTime),
}

/// The start of a page in the list of users.
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
    /// `finishes`. Returns false if the stored version has changed, or if another holder has begun the work.
    async fn put_entry(&self, entry: &Entry, finishes: Option<&Work>) -> Result<bool, StoreError>;

    /// Returns the group with that `id`.
    async fn group(&self, id: &str) -> Result<Option<Group>, StoreError>;

    /// Returns the group with that name, regardless of case.
    async fn group_named(&self, display_name: &str) -> Result<Option<Group>, StoreError>;

    /// Returns at most `limit` groups in the order of their ids: those after `after`, without the first `skip`.
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

    /// Requests the exclusive right to do `work` until `until`. A holder that requests it again extends its time.
    async fn begin(&self, work: &Work, now: OffsetDateTime, until: OffsetDateTime) -> Result<Begun, StoreError>;

    /// Records that the work will be carried out. The caller must do this before the first step of the work. Returns
    /// false if the holder no longer has the right to do it.
    async fn intend(&self, work: &Work) -> Result<bool, StoreError>;

    /// Gives up the right to do the work, so that others may begin it. The record of [`ScimStore::intend`] stays. Does
    /// nothing if another holder has begun the work.
    async fn abandon(&self, work: &Work) -> Result<(), StoreError>;

    /// Removes the record of the work. Does nothing if another holder has begun the work.
    async fn finish(&self, work: &Work) -> Result<(), StoreError>;

    /// Returns the page mark with the largest index that is at most `index`.
    async fn mark_before(&self, index: u64, now: OffsetDateTime) -> Result<Option<Mark>, StoreError>;

    /// Stores a mark until `until`.
    async fn put_mark(&self, mark: &Mark, until: OffsetDateTime) -> Result<(), StoreError>;

    /// Returns how many users the last complete walk over all users saw.
    async fn total(&self, now: OffsetDateTime) -> Result<Option<u64>, StoreError>;

    /// Stores the number of users until `until`.
    async fn put_total(&self, total: u64, until: OffsetDateTime) -> Result<(), StoreError>;

    /// Discards the page marks and the total. Call this if the list of users has changed.
    async fn forget_marks(&self) -> Result<(), StoreError>;
}

pub use crate::domain::folded;
