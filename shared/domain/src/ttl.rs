//! The lifetime of a minted token.

use std::fmt;

/// A token's lifetime in whole seconds, from [`TokenTtl::MIN_SECONDS`] to [`TokenTtl::MAX_SECONDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenTtl(u32);

/// The number of seconds is outside the allowed range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number of seconds from 60 to 86400")]
pub struct TtlError;

impl TokenTtl {
    /// 60 seconds. With a shorter lifetime, a front end might not get a new token before the old one expires.
    pub const MIN_SECONDS: u32 = 60;
    /// One day, which is Twilio's maximum for other access tokens. Twilio documents no maximum for Flex tokens.
    pub const MAX_SECONDS: u32 = 86_400;
    /// One hour, which is also Twilio's default.
    pub const DEFAULT: Self = Self(3_600);
    /// The shortest lifetime.
    pub const MIN: Self = Self(Self::MIN_SECONDS);
    /// The longest lifetime.
    pub const MAX: Self = Self(Self::MAX_SECONDS);

    /// Makes a lifetime of this many seconds, or fails if the number is outside the range.
    pub fn from_seconds(seconds: u64) -> Result<Self, TtlError> {
        match u32::try_from(seconds) {
            Ok(seconds) if (Self::MIN_SECONDS..=Self::MAX_SECONDS).contains(&seconds) => Ok(Self(seconds)),
            _ => Err(TtlError),
        }
    }

    /// Returns the lifetime in seconds.
    #[must_use]
    pub fn seconds(self) -> u32 {
        self.0
    }
}

impl fmt::Display for TokenTtl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_ttl_is_within_its_bounds_or_it_is_none(seconds in any::<u64>()) {
            match TokenTtl::from_seconds(seconds) {
                Ok(ttl) => prop_assert_eq!(u64::from(ttl.seconds()), seconds),
                Err(TtlError) => prop_assert!(!(60..=86_400).contains(&seconds)),
            }
        }
    }
}
