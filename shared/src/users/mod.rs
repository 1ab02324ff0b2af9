//! Flex users: who may have what, and how Flexgate brings Flex in step with that.

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
