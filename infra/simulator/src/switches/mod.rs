//! Switches that change the simulator's behaviour. Most switches stand for a question about Twilio that Twilio's
//! documentation leaves open. The values of such a switch are the plausible answers, and clients must work with each of
//! them.
//!
//! The questions are defined in the table in this file, and nowhere else. `flexgate verify` finds the answers that a
//! program can find. docs/verify.md describes all questions.

mod question;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

pub(crate) use question::Numeric;
use question::switches;
pub use question::{Position, Question};

switches! {
    questions {
        provision_status: ProvisionStatus,
            asks "Which status does Provision answer when it creates a user?",
            documented "Not documented. Published code expects 201.",
            positions {
                Created = 201, "Twilio answers 201.";
                Ok = 200, "Twilio answers 200.";
            }
        provision_update_status: ProvisionUpdateStatus,
            asks "Which status does Provision answer when it updates a user?",
            documented "Not documented.",
            positions {
                Created = 201, "Twilio answers 201.";
                Ok = 200, "Twilio answers 200.";
            }
        provision_reactivates: Reactivation,
            asks "What does Provision do with the username of a deprovisioned user?",
            documented "Not documented.",
            positions {
                SameSid = "same_sid", "Twilio reactivates the user with the same SID.";
                NewSid = "new_sid", "Twilio creates a user with a new SID, and the old one stays deactivated.";
                StaysDeactivated = "stays_deactivated", "Twilio updates the user but leaves it deactivated.";
            }
        version_starts_at: FirstVersion,
            asks "Which version does a new user have?",
            documented "Twilio's pages differ: 0 or 1.",
            positions {
                Zero = 0, "The version is 0.";
                One = 1, "The version is 1.";
            }
        long_username: LongUsername,
            asks "What happens to a username of 65 characters?",
            documented "Flex allows 256 characters. The username becomes the worker's friendly_name, for which TaskRouter allows 64.",
            positions {
                Accept = "accept", "The worker has the whole username as its name.";
                Cut = "cut", "The worker's name is the first 64 characters of the username.";
                Reject = "reject", "Twilio refuses to provision the user.";
            }
        deprovision_twice_status: DeprovisionTwice,
            asks "Which status does Deprovision answer for a deprovisioned user?",
            documented "Not documented.",
            positions {
                Empty = 204, "Twilio answers 204, as the first time.";
                NotFound = 404, "Twilio answers 404.";
                Refused = 400, "Twilio answers 400.";
            }
        tokens_die_at_deprovision: TokensAtDeprovision,
            asks "Does deprovisioning invalidate the user's tokens?",
            documented "Not documented.",
            positions {
                Die = true, "The tokens are invalid at once.";
                Live = false, "The tokens stay valid until they expire.";
            }
        find_returns_deactivated: FindDeactivated,
            asks "Does a search by username find deactivated users?",
            documented "Not documented. The v1 list contains them.",
            positions {
                Found = true, "The search finds deactivated users.";
                Hidden = false, "The search finds only active users.";
            }
        find_case_sensitive: FindCase,
            asks "Is a search by username case-sensitive?",
            documented "Not documented.",
            positions {
                Sensitive = true, "The search finds only a username in the same case.";
                Insensitive = false, "The search finds the username in any case.";
            }
        mint_status: MintStatus,
            asks "Which status does a successful mint answer?",
            documented "Twilio's pages differ: 200 or 201.",
            positions {
                Created = 201, "Twilio answers 201.";
                Ok = 200, "Twilio answers 200.";
            }
        over_max_ttl: OverTtl,
            asks "What happens to a TTL of two days?",
            documented "Not documented. Other Twilio tokens last for at most 86,400 s.",
            positions {
                Reject = "reject", "Twilio refuses to mint. A TTL of 86,400 s is allowed.";
                Clamp = "clamp", "Twilio mints a token for 86,400 s.";
                Mint = "mint", "Twilio mints a token for two days.";
            }
        short_ttl: ShortTtl,
            asks "What happens to a TTL of one second?",
            documented "Not documented.",
            positions {
                Mint = "mint", "Twilio mints a token for one second.";
                Reject = "reject", "Twilio refuses to mint.";
                Raise = "raise", "Twilio mints a token for a longer time.";
            }
        mint_deactivated: Deactivated,
            asks "What happens when a token is minted for a deprovisioned user?",
            documented "Not documented.",
            positions {
                Reject = "reject", "Twilio refuses to mint.";
                Mint = "mint", "Twilio mints a token.";
            }
        info_status: InfoStatus,
            asks "Which status does Tokens/Info answer for a valid token?",
            documented "Not documented. Published code expects 201.",
            positions {
                Created = 201, "Twilio answers 201.";
                Ok = 200, "Twilio answers 200.";
            }
        iam_invalid_status: IamInvalidStatus,
            asks "Which status does the IAM API answer for an invalid token?",
            documented "The answer contains valid: false. Its status is not documented.",
            positions {
                Ok = 200, "Twilio answers 200 with valid: false.";
                Unauthorized = 401, "Twilio answers 401.";
            }
        sparse_responses: SparseResponses,
            asks "Do answers omit fields?",
            documented "Twilio's pages show results of a search without worker_sid, full_name and deactivated.",
            positions {
                Complete = false, "A search returns all fields of a user.";
                Sparse = true, "A search omits fields of a user.";
            }
        rfc9457_errors: ErrorFormat,
            asks "Which format do errors have?",
            documented "Twilio's own format (code, message, status). Newer services answer RFC 9457 problem documents.",
            positions {
                Twilio = false, "Errors have Twilio's own format.";
                Problem = true, "Errors are RFC 9457 problem documents.";
            }
        exchange_error_status: ExchangeErrorStatus,
            asks "Which status does the exchange of an invalid code answer?",
            documented "Not documented.",
            positions {
                BadRequest = 400, "Twilio answers 400.";
                Unauthorized = 401, "Twilio answers 401.";
                Forbidden = 403, "Twilio answers 403.";
            }
        exchange_error_code: ExchangeErrorCode,
            asks "Which error code does the exchange of an invalid code answer?",
            documented "Not documented.",
            positions {
                InvalidRequest = 70002, "The code is 70002 (invalid request).";
                InvalidSettings = 70251, "The code is 70251 (invalid SSO settings).";
            }
        exchange_profile_status: ExchangeProfileStatus,
            asks "Which status does an exchange for an unknown SSO profile answer?",
            documented "Not documented. The error code is 70251.",
            positions {
                Forbidden = 403, "Twilio answers 403.";
                BadRequest = 400, "Twilio answers 400.";
                NotFound = 404, "Twilio answers 404.";
            }
        refresh_rotates: Refresh,
            asks "Does a refresh replace the refresh token?",
            documented "Not documented.",
            by_hand "Sign in with the SDK's `exchangeToken`, which returns a refresh token. Send that token twice to `POST https://services.twilio.com/v1/Flex/OAuth/Tokens` as `{\"refresh_token\": …, \"sso_profile_sid\": …, \"grant_type\": \"RefreshToken\"}`, and see whether the second request is refused.",
            positions {
                Rotates = true, "Each refresh token works once.";
                Keeps = false, "The refresh token stays the same.";
            }
        sso_login_reactivates: SsoReactivation,
            asks "May a deprovisioned user sign in through SSO?",
            documented "Not documented. SSO creates users just in time.",
            by_hand "Deprovision a test person, and let the person sign in through SSO. `flexgate users show NAME` then shows whether the user is active.",
            positions {
                Allowed = true, "The user may sign in, and becomes active, as if the user were provisioned again.";
                Denied = false, "Twilio refuses the sign-in.";
            }
        state_extra_member: StateMember,
            asks "What does Authorize do with an additional member of state?",
            documented "Not documented. The SDK's state has two members, connection_name and redirect_url.",
            by_hand "Open the address to which /sso/{profile}/login redirects, with another member in the JSON of state. See whether Twilio refuses it, and whether the member is in the state that comes back to the callback.",
            positions {
                Tolerate = "tolerate", "The whole state comes back.";
                Reject = "reject", "Authorize refuses the request.";
                Strip = "strip", "Only the two known members come back.";
            }
        restricted_key_status: RestrictedKeyStatus,
            asks "Which status does a restricted API key get?",
            documented "The error code is 8001. The status is not documented.",
            by_hand "Make a restricted API key in the Console, and search for a user with it: `curl -i -u SK…:SECRET 'https://flex-api.twilio.com/v4/Instances/GO…/Users?Username=x'`. Delete the key.",
            positions {
                Forbidden = 403, "Twilio answers 403.";
                Unauthorized = 401, "Twilio answers 401.";
            }
    }
    others {
        /// The longest TTL of a minted token in seconds, unless [`OverTtl::Mint`] is chosen.
        max_ttl_seconds: i64 = 86_400;
        /// The lifetime of an SSO access token, in seconds.
        sso_token_ttl_seconds: i64 = 3600;
        /// The longest lifetime of an SSO session, in seconds. No token of the session is valid for longer.
        sso_max_lifetime_seconds: i64 = 43_200;
        /// Whether the list of SSO configurations begins with an inactive one.
        config_inactive_first: bool = false;
        /// Deliberately wrong: a search for one user also returns a second user.
        find_returns_two: bool = false;
        /// Deliberately wrong: the minted token belongs to another user.
        mint_for_other_user: bool = false;
        /// Deliberately wrong: the minted token also has the role `admin`.
        mint_wider_roles: bool = false;
        /// Deliberately wrong: the exchanged token belongs to another account.
        exchange_other_account: bool = false;
        /// Deliberately wrong: the exchanged token belongs to another instance.
        exchange_other_instance: bool = false;
    }
}

impl Switches {
    /// Whether answers omit fields.
    pub(crate) fn are_sparse(&self) -> bool {
        self.sparse_responses == SparseResponses::Sparse
    }

    /// Returns a copy of these switches, changed by `patch`.
    pub(crate) fn merged(&self, patch: &Map<String, Value>) -> Result<Self, serde_json::Error> {
        let mut whole = serde_json::to_value(self)?;
        if let Some(members) = whole.as_object_mut() {
            members.extend(patch.clone());
        }
        serde_json::from_value(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_can_be_set_and_the_first_is_the_default() {
        let default = serde_json::to_value(Switches::default()).unwrap();
        for question in QUESTIONS {
            let values: Vec<Value> = question.positions.iter().map(Position::value).collect();
            assert!(values.len() > 1, "{}", question.switch);
            assert_eq!(default[question.switch], values[0], "{}", question.switch);
            for value in values {
                let patch = Map::from_iter([(question.switch.to_owned(), value.clone())]);
                let set = serde_json::to_value(Switches::default().merged(&patch).unwrap()).unwrap();
                assert_eq!(set[question.switch], value, "{}", question.switch);
            }
            let unknown = Map::from_iter([(question.switch.to_owned(), json!("no such position"))]);
            let error = Switches::default().merged(&unknown).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{} must be one of", question.switch)), "{error}");
        }
    }

    #[test]
    fn a_file_may_contain_only_some_switches() {
        let switches: Switches = serde_json::from_value(json!({ "mint_status": 200 })).unwrap();
        assert_eq!(switches, Switches { mint_status: MintStatus::Ok, ..Switches::default() });
        assert!(serde_json::from_value::<Switches>(json!({ "no_such_switch": 1 })).is_err());
    }
}
