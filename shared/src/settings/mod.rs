//! Configuration, from the environment, once, at the start.
//!
//! Each function reads the groups it needs. One [`Reader`] collects every mistake, so that the start ends with one
//! message that names every variable. No secret is ever in the environment.

mod groups;

pub use crate::base::settings::{Reader, SettingsError, VariableError};
pub use groups::{
    CallerSettings, Common, Credential, OwnerSettings, PolicySettings, SecretsFrom, SignInSettings, StoreAt, queue,
};
