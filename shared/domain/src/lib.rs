//! Flexgate's types and rules that need no I/O: Flex users, roles, token lifetimes, the people ledger and the policy.
//!
//! This crate uses neither AWS nor HTTP, and it depends on no other crate of this workspace. Code that receives a
//! string from outside parses it into one of these types at once, and parsing checks the string.

pub mod caller;
pub mod event;
pub mod ledger;
pub mod name;
pub mod policy;
pub mod profile;
pub mod role;
pub mod sid;
pub mod ttl;
pub mod user;

pub use caller::{Caller, Identity, Scope, Scopes};
pub use event::{
    Action, EventFieldError, EventId, History, IdentityEvent, Moment, PersonProfile, SourceName, Subject, SubjectId,
};
pub use name::{Email, FullName, NameError, Unseen, Username, UsernameKey, check_seen, folded};
pub use profile::{ProfileName, SsoProfile, SsoProfiles};
pub use role::{ObservedRoles, Role, RoleSet, role_list, role_names};
pub use sid::{
    AccountSid, ApiKeySid, FlexUserSid, InstanceSid, SidError, SsoProfileSid, TeamSid, WorkerSid, WorkspaceSid,
};
pub use ttl::{TokenTtl, TtlError};
pub use user::{DesiredUser, FlexUser, UserDifference, WorkerAttributes};
