//! Configuration, from the environment, once, at the start.
//!
//! Each group is read by those who need it; a [`Reader`] collects what is wrong with all of them, and
//! the start ends with one message that names every variable. No secret is ever in the environment.

mod groups;
mod reader;

pub use groups::{
    CallerSettings, Common, Credential, OwnerSettings, PolicySettings, SecretsFrom, SignInSettings, StoreAt, queue,
};
pub use reader::{Reader, SettingsError, VariableError};
