//! Flex users: the settings and rules for access, and the code that updates Flex accordingly.

mod group_roles;
pub mod ledger;
mod problem;
mod provisioning;
mod settings;
mod walk;

pub use group_roles::GroupRoles;
pub use provisioning::{Provisioning, ProvisioningError};
pub use settings::{LastAdmin, PolicySettings};
pub use walk::{Pages, in_full};
