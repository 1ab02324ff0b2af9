//! The store's part of a pending login: the address to which the browser returns.

use std::fmt;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::StoreError;

/// Keeps the addresses to which browsers go after sign-in, if they are too long for the login cookie.
#[async_trait]
pub trait ReturnAddresses: fmt::Debug + Send + Sync {
    /// Stores the sealed address of the login `login` until the time `until`.
    async fn keep_address(
        &self,
        login: &str,
        sealed: String,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<(), StoreError>;

    /// Returns the sealed address of the login, or `None` if there is none. The store may still return an address that
    /// has expired.
    async fn address_of(&self, login: &str) -> Result<Option<String>, StoreError>;
}
