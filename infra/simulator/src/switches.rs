//! Switches for Twilio's undocumented behaviour, one for each question. The default is the most likely answer. Clients
//! must work with every answer.

use serde::{Deserialize, Serialize};

/// The result of provisioning the username of a deprovisioned user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reactivation {
    /// Twilio reactivates the user with the same `FU…`.
    SameSid,
    /// Twilio creates a new `FU…`, and the old one stays deactivated.
    NewSid,
    /// Twilio updates the user but leaves it deactivated.
    StaysDeactivated,
}

/// The result of minting with a TTL above [`Switches::max_ttl_seconds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverTtl {
    /// Twilio mints a token with the longest allowed TTL.
    Clamp,
    /// Twilio answers 400, code 45004.
    Reject,
}

/// Authorize's answer to a `state` with more members than the SDK puts there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateMember {
    /// Authorize returns `state` unchanged.
    Tolerate,
    /// Authorize refuses the request.
    Reject,
    /// Authorize returns only the two members that it knows.
    Strip,
}

/// The result of minting for a deactivated user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deactivated {
    /// Twilio mints a token.
    Mint,
    /// Twilio answers 400, code 45008.
    Reject,
}

/// All switches. `GET /__sim/switches` shows them, and `POST` changes the switches in its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent question about Twilio")]
pub struct Switches {
    /// The answer's status when provisioning creates a user.
    pub provision_status: u16,
    /// The answer's status when provisioning updates a user.
    pub provision_update_status: u16,
    /// The result of provisioning the username of a deprovisioned user.
    pub provision_reactivates: Reactivation,
    /// The `version` of a new user: 0 or 1.
    pub version_starts_at: u64,
    /// The answer's status when a user is deprovisioned a second time.
    pub deprovision_twice_status: u16,
    /// Whether deprovisioning invalidates the user's tokens.
    pub tokens_die_at_deprovision: bool,
    /// Whether `Username=` finds deactivated users.
    pub find_returns_deactivated: bool,
    /// Whether `Username=` is case-sensitive.
    pub find_case_sensitive: bool,
    /// Deliberately wrong: a search for one user also returns a second user.
    pub find_returns_two: bool,
    /// The status of a successful mint: 200 or 201.
    pub mint_status: u16,
    /// The longest allowed TTL of a minted token, in seconds.
    pub max_ttl_seconds: i64,
    /// The result of minting with a TTL above [`Switches::max_ttl_seconds`].
    pub over_max_ttl: OverTtl,
    /// The result of minting for a deactivated user.
    pub mint_deactivated: Deactivated,
    /// Deliberately wrong: the minted token belongs to another user.
    pub mint_for_other_user: bool,
    /// Deliberately wrong: the minted token also has the role `admin`.
    pub mint_wider_roles: bool,
    /// The status of the answer to a Restricted API key (code 8001).
    pub restricted_key_status: u16,
    /// Authorize's answer to an unknown member of `state`.
    pub state_extra_member: StateMember,
    /// Whether a deprovisioned user may sign in through SSO. If so, [`Switches::provision_reactivates`] decides the
    /// result.
    pub sso_login_reactivates: bool,
    /// Whether the list of SSO configurations begins with an inactive one.
    pub config_inactive_first: bool,
    /// The status of the answer to an invalid code or refresh token.
    pub exchange_error_status: u16,
    /// Twilio's error code for an invalid code or refresh token.
    pub exchange_error_code: u32,
    /// The status of the answer to an unknown SSO profile (code 70251).
    pub exchange_profile_status: u16,
    /// Whether a refresh replaces the refresh token.
    pub refresh_rotates: bool,
    /// Deliberately wrong: the exchanged token belongs to another account.
    pub exchange_other_account: bool,
    /// Deliberately wrong: the exchanged token belongs to another instance.
    pub exchange_other_instance: bool,
    /// The lifetime of an SSO access token, in seconds.
    pub sso_token_ttl_seconds: i64,
    /// The longest lifetime of an SSO session, in seconds. No token of the session is valid for longer.
    pub sso_max_lifetime_seconds: i64,
    /// The status of a successful answer of Tokens/Info.
    pub info_status: u16,
    /// The status of Twilio's answer to a server about an invalid token (`valid: false`).
    pub iam_invalid_status: u16,
    /// Whether answers omit the fields that Twilio may omit.
    pub sparse_responses: bool,
    /// Whether errors are RFC 9457 problem documents.
    pub rfc9457_errors: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            provision_status: 201,
            provision_update_status: 201,
            provision_reactivates: Reactivation::SameSid,
            version_starts_at: 0,
            deprovision_twice_status: 204,
            tokens_die_at_deprovision: true,
            find_returns_deactivated: true,
            find_case_sensitive: true,
            find_returns_two: false,
            mint_status: 201,
            max_ttl_seconds: 86_400,
            over_max_ttl: OverTtl::Reject,
            mint_deactivated: Deactivated::Reject,
            mint_for_other_user: false,
            mint_wider_roles: false,
            restricted_key_status: 403,
            state_extra_member: StateMember::Tolerate,
            sso_login_reactivates: true,
            config_inactive_first: false,
            exchange_error_status: 400,
            exchange_error_code: 70002,
            exchange_profile_status: 403,
            refresh_rotates: true,
            exchange_other_account: false,
            exchange_other_instance: false,
            sso_token_ttl_seconds: 3600,
            sso_max_lifetime_seconds: 43_200,
            info_status: 201,
            iam_invalid_status: 200,
            sparse_responses: false,
            rfc9457_errors: false,
        }
    }
}

impl Switches {
    /// Returns a copy of these switches, changed by `patch`.
    pub(crate) fn merged(&self, patch: &serde_json::Map<String, serde_json::Value>) -> Result<Self, serde_json::Error> {
        let mut whole = serde_json::to_value(self)?;
        if let Some(members) = whole.as_object_mut() {
            members.extend(patch.clone());
        }
        serde_json::from_value(whole)
    }
}
