//! Storage for SCIM data that Flex has no field for.
//!
//! Twilio stores the Flex users. For each user, this store has an entry: the identity system's own key (`externalId`),
//! the attributes as the identity system wrote them, and whether SCIM has deleted the user. The store also has the
//! groups, Twilio's page tokens, and locks that keep two processes from doing the same work.
//!
//! An entry or a group is written only if its version has not changed since it was read.

use std::fmt;

use async_trait::async_trait;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::StoreError;
use crate::domain::{FlexUserSid, Role, Username};

/// The data that SCIM stores about one user.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The SCIM `id`: the SID that the person's Flex user had when Flexgate first saw the user. It never changes.
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
    /// How many times the entry has been written. 0 if it is not stored yet.
    pub version: u64,
    /// When the entry was last written.
    pub updated_at: OffsetDateTime,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The member's SCIM `id`.
    pub user: FlexUserSid,
    /// Whether the identity system lists this member now. A member who has left stays stored until they have been
    /// reconciled, or until a job that will reconcile them is queued.
    pub present: bool,
    /// The role that this group gave when the member was last reconciled, or when a job to reconcile the member was
    /// last queued. If the group gives another role now, the member must be reconciled again.
    pub announced: Option<Role>,
}

/// A SCIM group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The SCIM `id`.
    pub id: String,
    /// The name, unique regardless of case.
    pub display_name: String,
    /// The identity system's own key.
    pub external_id: Option<String>,
    /// The members, including people who have left the group and are not reconciled yet.
    pub members: Vec<Member>,
    /// How many times the group has been written. 0 if it is not stored yet.
    pub version: u64,
    /// When the group was created.
    pub created_at: OffsetDateTime,
    /// When the group was last written.
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
    /// Whether the identity system lists the user as a member now.
    pub present: bool,
}

/// The outcome of writing a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupWritten {
    /// The group was written.
    Yes,
    /// Another group has the name.
    NameTaken,
    /// Another writer has changed or removed the group since it was read.
    Moved,
}

/// A piece of work that only one process may do at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The name of the work. Two pieces of work with the same name exclude each other.
    pub name: String,
    /// A random number that identifies the process that does the work (the holder). The holder's right to do the work
    /// expires. If another process then becomes the holder, the former holder can no longer finish the work.
    pub holder: u128,
}

/// Whether this process may do a piece of work now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// This process may do the work until the requested time. No other process may do it before then.
    Yes {
        /// Whether [`ScimStore::intend`] was called earlier for work with this name. If so, part of the work may
        /// already be done.
        intended: bool,
    },
    /// Another process may do the work until this time.
    Held(OffsetDateTime),
}

/// A page mark: the start of a page in the list of users, and Twilio's token for that page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The 1-based index of the first user of the page.
    pub index: u64,
    /// Twilio's token for the page.
    pub token: String,
}

/// The store for SCIM.
#[async_trait]
pub trait ScimStore: fmt::Debug + Send + Sync {
    /// Returns the entry with this `id`.
    async fn entry(&self, id: &FlexUserSid) -> Result<Option<Entry>, StoreError>;

    /// Returns the entries whose `id` or `current` is one of these Flex users.
    async fn entries(&self, users: &[FlexUserSid]) -> Result<Vec<Entry>, StoreError>;

    /// Returns the entry with this username, regardless of case.
    async fn entry_named(&self, username: &Username) -> Result<Option<Entry>, StoreError>;

    /// Returns the entries with this `externalId`.
    async fn entries_of_external_id(&self, external_id: &str) -> Result<Vec<Entry>, StoreError>;

    /// In one transaction, stores the entry and removes the record of the finished work `finishes`. Returns false if
    /// the stored version has changed, or if another process has begun that work.
    async fn put_entry(&self, entry: &Entry, finishes: Option<&Work>) -> Result<bool, StoreError>;

    /// Returns the group with this `id`.
    async fn group(&self, id: &str) -> Result<Option<Group>, StoreError>;

    /// Returns the group with this name, regardless of case.
    async fn group_named(&self, display_name: &str) -> Result<Option<Group>, StoreError>;

    /// Returns at most `limit` groups in the order of their ids. Begins after the id `after`, and skips the first
    /// `skip` groups from there.
    async fn groups(&self, after: &str, skip: u64, limit: u64) -> Result<Vec<Group>, StoreError>;

    /// Returns the number of groups.
    async fn count_groups(&self) -> Result<u64, StoreError>;

    /// Stores the group and its members, if the stored version has not changed.
    async fn put_group(&self, group: &Group) -> Result<GroupWritten, StoreError>;

    /// Removes the group and its members. Returns false if the stored version has changed, or if there is no such
    /// group.
    async fn remove_group(&self, id: &str, version: u64) -> Result<bool, StoreError>;

    /// Returns the memberships of these users.
    async fn memberships(&self, users: &[FlexUserSid]) -> Result<Vec<Membership>, StoreError>;

    /// Ends every membership of a user.
    async fn leave_all(&self, user: &FlexUserSid) -> Result<(), StoreError>;

    /// Requests the exclusive right to do the piece of work `work` until `until`. A process that already has this right
    /// can extend it with another call.
    async fn begin(&self, work: &Work, now: OffsetDateTime, until: OffsetDateTime) -> Result<Begun, StoreError>;

    /// Records that the first step of a piece of work is about to begin. Returns false if the caller no longer has
    /// the right to do the work.
    async fn intend(&self, work: &Work) -> Result<bool, StoreError>;

    /// Gives up the right to do a piece of work, so that another process may begin it. The store still remembers
    /// whether [`ScimStore::intend`] was called. Does nothing if another process has begun the work.
    async fn abandon(&self, work: &Work) -> Result<(), StoreError>;

    /// Removes the record of a piece of work that is done. Does nothing if another process has begun the work.
    async fn finish(&self, work: &Work) -> Result<(), StoreError>;

    /// Returns the page mark with the largest index that is at most `index`.
    async fn mark_before(&self, index: u64, now: OffsetDateTime) -> Result<Option<Mark>, StoreError>;

    /// Stores a page mark until `until`.
    async fn put_mark(&self, mark: &Mark, until: OffsetDateTime) -> Result<(), StoreError>;

    /// Returns how many users Flex had when Flexgate last read the whole list. Returns `None` if this number is unknown
    /// or too old.
    async fn total(&self, now: OffsetDateTime) -> Result<Option<u64>, StoreError>;

    /// Stores the number of users until `until`.
    async fn put_total(&self, total: u64, until: OffsetDateTime) -> Result<(), StoreError>;

    /// Discards the page marks and the number of users. The caller does this when the list of users has changed.
    async fn forget_marks(&self) -> Result<(), StoreError>;
}

pub use crate::domain::folded;
