//! Flex users: who may have what, and how Flex is brought to it.

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
