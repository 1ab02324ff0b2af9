//! The people ledger, and the code that updates the users in Flex. The ledger decides who has access to Flex, and which
//! roles each person has.

mod group_roles;
pub mod ledger;
mod people_finder;
mod problem;
mod provisioning;
mod session_ender;
mod settings;
mod walk;

pub use group_roles::GroupRoles;
pub use people_finder::{FoundPeople, PeopleFinder};
pub use provisioning::{Provisioning, ProvisioningError};
pub use session_ender::SessionEnder;
pub use settings::{LastAdmin, PolicySettings};
pub use walk::{Pages, in_full};
