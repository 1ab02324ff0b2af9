//! Stores what SCIM must remember and Flex has no field for: external ids, spellings, groups.
//!
//! Twilio stays the source of truth about users. For each user this store keeps the identity system's own key
//! (`externalId`), the attributes as the identity system wrote them, and a tombstone after a deletion. It also keeps
//! groups with their members, work in progress, and where each page of a long list starts. Every write of an entry or
//! a group is conditional on the version that was read.

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
    /// The identity system's own key. It must never be used as an `id` (CVE-2025-41115).
    pub external_id: Option<String>,
    /// The writable attributes as the identity system last wrote them.
    pub asserted: Map<String, Value>,
    /// Whether the user was deleted through SCIM. Twilio keeps such a user, deactivated.
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
    /// Whether the identity system lists this member. A member who left stays stored until the end of the membership
    /// has been announced.
    pub present: bool,
    /// The group's role that has been announced for this member: the member has been reconciled with it, or a job that
    /// does so is queued.
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
    /// The members, including those who left but whose end of membership has not been announced yet.
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
    /// Another writer changed or removed the group in between.
    Moved,
}

/// A piece of work that one process does at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// What the work is. Two pieces of work with the same name exclude each other.
    pub name: String,
    /// A random number that identifies who does it. A holder that began too long ago may have been replaced, and cannot
    /// end the work of the one after it.
    pub holder: u128,
}

/// Whether this holder may do a piece of work now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// Yes, and no other holder may until the time given. If `intended`, an earlier attempt had decided to carry out
    /// the work and may have done part of it.
    Yes {
        /// Whether [`ScimStore::intend`] was called for the work before.
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

/// What SCIM remembers.
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

    /// Writes the entry if the stored version is still the entry's, and in the same transaction ends the piece of work
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

    /// Writes the group and its members if the stored version is still the group's.
    async fn put_group(&self, group: &Group) -> Result<GroupWritten, StoreError>;

    /// Removes the group and its members.
    async fn remove_group(&self, id: &str) -> Result<(), StoreError>;

    /// Returns the memberships of these users.
    async fn memberships(&self, users: &[FlexUserSid]) -> Result<Vec<Membership>, StoreError>;

    /// Ends every membership of a user.
    async fn leave_all(&self, user: &FlexUserSid) -> Result<(), StoreError>;

    /// Requests the exclusive right to do `work` until `until`. A holder that asks again extends its time.
    async fn begin(&self, work: &Work, now: OffsetDateTime, until: OffsetDateTime) -> Result<Begun, StoreError>;

    /// Records, before anything is done, that the work will be carried out. Returns false if the holder no longer has
    /// the right to do it.
    async fn intend(&self, work: &Work) -> Result<bool, StoreError>;

    /// Lets others begin the work, and keeps the record of [`ScimStore::intend`]. Does nothing if another holder has
    /// begun it.
    async fn abandon(&self, work: &Work) -> Result<(), StoreError>;

    /// Removes the record of the work. Does nothing if another holder has begun it.
    async fn finish(&self, work: &Work) -> Result<(), StoreError>;

    /// Returns the last mark at or before `index`.
    async fn mark_before(&self, index: u64, now: OffsetDateTime) -> Result<Option<Mark>, StoreError>;

    /// Stores a mark until `until`.
    async fn put_mark(&self, mark: &Mark, until: OffsetDateTime) -> Result<(), StoreError>;

    /// Returns how many users the last complete walk saw.
    async fn total(&self, now: OffsetDateTime) -> Result<Option<u64>, StoreError>;

    /// Stores the number of users until `until`.
    async fn put_total(&self, total: u64, until: OffsetDateTime) -> Result<(), StoreError>;

    /// Discards the marks and the total, because the list has changed.
    async fn forget_marks(&self) -> Result<(), StoreError>;
}

pub use crate::domain::folded;
