//! What SCIM has to remember and Flex has no field for: external ids, spellings, groups.
//!
//! Twilio stays the truth about users. Here are the identity system's own key for each of them
//! (`externalId`), the attributes as it wrote them, groups with their members, tombstones, work that
//! was begun, and where the pages of a long list start. Every write of an entry or a group is
//! conditional on the version it was read at.

use std::fmt;

use async_trait::async_trait;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::StoreError;
use crate::domain::{FlexUserSid, Role, Username};

/// What is remembered about one user.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The SCIM `id`: the Flex user's SID when it was first seen.
    pub id: FlexUserSid,
    /// The Flex user it is now. Differs from `id` only where Twilio gave a reactivated user a new SID.
    pub current: FlexUserSid,
    /// Under which name Twilio knows the user.
    pub username: Username,
    /// The identity system's own key. Never an `id` (CVE-2025-41115).
    pub external_id: Option<String>,
    /// The writable attributes as they were last written.
    pub asserted: Map<String, Value>,
    /// Deleted through SCIM. Twilio keeps the user, deactivated.
    pub deleted: bool,
    /// Counts the writes; 0 for an entry that is not stored yet.
    pub version: u64,
    /// When it was last written.
    pub updated_at: OffsetDateTime,
}

/// A user's place in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The member's SCIM `id`.
    pub user: FlexUserSid,
    /// Whether the identity system lists it. A row that is not present waits until its end has been announced.
    pub present: bool,
    /// The role of the group that has been announced: the member has been reconciled with it, or a job is queued that
    /// does so.
    pub announced: Option<Role>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The SCIM `id`.
    pub id: String,
    /// The name, unique without regard to case.
    pub display_name: String,
    /// The identity system's own key.
    pub external_id: Option<String>,
    /// Everybody who is, or is about to be or not to be, a member.
    pub members: Vec<Member>,
    /// Counts the writes; 0 for a group that is not stored yet.
    pub version: u64,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// When it was last written.
    pub updated_at: OffsetDateTime,
}

/// That a user is in a group.
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

/// What became of writing a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupWritten {
    /// It is written.
    Yes,
    /// Another group has the name.
    NameTaken,
    /// Somebody else wrote it meanwhile, or removed it.
    Moved,
}

/// May this process do a piece of work now?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// Yes, and nobody else until the time given. `intended`: an earlier attempt had decided to carry
    /// it out and may have done so in part.
    Yes {
        /// Whether [`ScimStore::intend`] was called for it before.
        intended: bool,
    },
    /// Somebody else is at it.
    Busy,
}

/// Where a page of the list of users begins.
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
    /// The entry of that `id`.
    async fn entry(&self, id: &FlexUserSid) -> Result<Option<Entry>, StoreError>;

    /// The entries of these Flex users, whether they are so by `id` or by `current`.
    async fn entries(&self, users: &[FlexUserSid]) -> Result<Vec<Entry>, StoreError>;

    /// The entry of that username, without regard to case.
    async fn entry_named(&self, username: &Username) -> Result<Option<Entry>, StoreError>;

    /// The entries of that `externalId`.
    async fn entries_of_external_id(&self, external_id: &str) -> Result<Vec<Entry>, StoreError>;

    /// Writes the entry over the version it holds, and ends the piece of work `finishes` with it. False
    /// if the entry has moved on.
    async fn put_entry(&self, entry: &Entry, finishes: Option<&str>) -> Result<bool, StoreError>;

    /// The group of that `id`.
    async fn group(&self, id: &str) -> Result<Option<Group>, StoreError>;

    /// The group of that name, without regard to case.
    async fn group_named(&self, display_name: &str) -> Result<Option<Group>, StoreError>;

    /// Groups in the order of their ids, after `after`, skipping `skip`, at most `limit`.
    async fn groups(&self, after: &str, skip: u64, limit: u64) -> Result<Vec<Group>, StoreError>;

    /// How many groups there are.
    async fn count_groups(&self) -> Result<u64, StoreError>;

    /// Writes the group and its members over the version it holds.
    async fn put_group(&self, group: &Group) -> Result<GroupWritten, StoreError>;

    /// Removes the group and its members.
    async fn remove_group(&self, id: &str) -> Result<(), StoreError>;

    /// The memberships of these users.
    async fn memberships(&self, users: &[FlexUserSid]) -> Result<Vec<Membership>, StoreError>;

    /// Ends every membership of a user.
    async fn leave_all(&self, user: &FlexUserSid) -> Result<(), StoreError>;

    /// Asks to be the only one to do `work` until `until`.
    async fn begin(&self, work: &str, now: OffsetDateTime, until: OffsetDateTime) -> Result<Begun, StoreError>;

    /// Notes, before anything is done, that the work will be carried out.
    async fn intend(&self, work: &str) -> Result<(), StoreError>;

    /// Lets others begin the work, and keeps what was intended.
    async fn abandon(&self, work: &str) -> Result<(), StoreError>;

    /// Forgets the work.
    async fn finish(&self, work: &str) -> Result<(), StoreError>;

    /// The last mark at or before `index`.
    async fn mark_before(&self, index: u64, now: OffsetDateTime) -> Result<Option<Mark>, StoreError>;

    /// Keeps a mark until `until`.
    async fn put_mark(&self, mark: &Mark, until: OffsetDateTime) -> Result<(), StoreError>;

    /// How many users the last whole walk saw.
    async fn total(&self, now: OffsetDateTime) -> Result<Option<u64>, StoreError>;

    /// Keeps how many users there are until `until`.
    async fn put_total(&self, total: u64, until: OffsetDateTime) -> Result<(), StoreError>;

    /// Forgets marks and total: the list has changed.
    async fn forget_marks(&self) -> Result<(), StoreError>;
}

/// How a name is compared where case does not count.
#[must_use]
pub fn folded(name: &str) -> String {
    name.to_lowercase()
}
