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
    /// The token has already expired, or is valid for longer than requested.
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

#[cfg(test)]
mod tests {
    use flexgate::domain::ObservedRoles;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    fn sid(prefix: &str, last: char) -> String {
        format!("{prefix}{}{last}", "0".repeat(31))
    }

    fn user() -> FlexUser {
        FlexUser {
            flex_user_sid: sid("FU", '1').parse().unwrap(),
            username: "ada".parse().unwrap(),
            email: None,
            full_name: None,
            roles: Some(ObservedRoles::from_iter(["agent", "supervisor"])),
            locale: None,
            deactivated: Some(false),
            worker_sid: None,
            created_date: None,
            updated_date: None,
            version: None,
        }
    }

    fn info() -> TokenInfo {
        TokenInfo {
            account_sid: sid("AC", '1').parse().unwrap(),
            flex_instance_sid: sid("GO", '1').parse().unwrap(),
            flex_user_sid: user().flex_user_sid,
            identity: None,
            username: Some("ada".into()),
            roles: ObservedRoles::from_iter(["agent"]),
            permissions: Vec::new(),
            worker_sid: None,
            expiration: NOW + Duration::HOUR,
        }
    }

    #[test]
    fn a_token_is_for_its_user_alone_with_no_more_roles_and_no_longer_than_granted() {
        let ends = |expiration| TokenInfo { expiration, ..info() };
        let most = NOW + Duration::HOUR + LEEWAY;
        let cases = [
            (info(), Ok(())),
            (TokenInfo { username: None, ..info() }, Ok(())),
            (TokenInfo { username: Some("Ada".into()), ..info() }, Err(WrongToken::User)),
            (TokenInfo { flex_user_sid: sid("FU", '2').parse().unwrap(), ..info() }, Err(WrongToken::User)),
            (TokenInfo { roles: ObservedRoles::from_iter(["agent", "admin"]), ..info() }, Err(WrongToken::Roles)),
            (ends(NOW), Err(WrongToken::Lifetime)),
            (ends(NOW + Duration::SECOND), Ok(())),
            (ends(most), Ok(())),
            (ends(most + Duration::SECOND), Err(WrongToken::Lifetime)),
        ];
        let ttl = TokenTtl::from_seconds(3600).unwrap();
        for (info, expected) in cases {
            assert_eq!(check(&info, &user(), ttl, NOW), expected, "{info:?}");
        }
        let silent = FlexUser { roles: None, ..user() };
        assert_eq!(check(&info(), &silent, ttl, NOW), Err(WrongToken::Roles), "its user's roles are not known");
    }
}
