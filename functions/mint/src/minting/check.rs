//! Checks that Twilio minted the token that Flexgate requested.

use flexgate::domain::{FlexUser, TokenTtl};
use flexgate::twilio::TokenInfo;
use time::{Duration, OffsetDateTime};

/// The largest accepted difference between Twilio's clock and Flexgate's clock.
const LEEWAY: Duration = Duration::minutes(5);

/// How a minted token differs from the requested one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongToken {
    /// It belongs to another account or instance.
    #[error("it is for another account or instance")]
    Account,
    /// It belongs to another user.
    #[error("it is for another Flex user")]
    User,
    /// The token has roles that its user does not have.
    #[error("it has roles its user does not have")]
    Roles,
    /// The token has expired, or is valid for longer than requested.
    #[error("its lifetime is not the one granted")]
    Lifetime,
}

/// Compares a minted token with the user and the lifetime that Flexgate requested. The Twilio client has already
/// checked the account and the instance.
pub(super) fn check(info: &TokenInfo, user: &FlexUser, ttl: TokenTtl, now: OffsetDateTime) -> Result<(), WrongToken> {
    let same_name = info.username.as_deref().is_none_or(|name| name == user.username.as_str());
    if info.flex_user_sid != user.flex_user_sid || !same_name {
        return Err(WrongToken::User);
    }
    let latest = now + Duration::seconds(ttl.seconds().into()) + LEEWAY;
    if info.expiration <= now || info.expiration > latest {
        return Err(WrongToken::Lifetime);
    }
    match &user.roles {
        Some(roles) if !info.roles.exceed_observed(roles) => Ok(()),
        _ => Err(WrongToken::Roles),
    }
}
