//! Pure types and rules: what a Flex user, a role or a lifetime *is*, and who may have what.
//!
//! No I/O, no AWS, no HTTP; this crate depends on no other crate of this workspace. A value of one of these types has
//! been checked: every outside string is parsed into one at the edge, and inside there are no bare strings for these
//! things.

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
