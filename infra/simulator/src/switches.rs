//! One switch for each question about Twilio that nobody outside Twilio can answer for certain.
//! The defaults are the likeliest answers; a client has to survive the others too.

use serde::{Deserialize, Serialize};

/// What happens when a client provisions a deprovisioned username.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reactivation {
    /// Twilio reactivates the same `FU…`.
    SameSid,
    /// Twilio makes a new `FU…`; the old one stays deactivated.
    NewSid,
    /// Twilio updates the user but leaves it deactivated.
    StaysDeactivated,
}

/// What happens when a client mints with a ttl above [`Switches::max_ttl_seconds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverTtl {
    /// Twilio mints a token with the longest ttl.
    Clamp,
    /// Twilio answers 400, code 45004.
    Reject,
}

/// What Authorize does with a `state` that has more members than the SDK puts there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateMember {
    /// Authorize returns it unchanged.
    Tolerate,
    /// Authorize refuses the request.
    Reject,
    /// Authorize returns only the two known members.
    Strip,
}

/// What happens when a client mints for a deactivated user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deactivated {
    /// Twilio mints a token.
    Mint,
    /// Twilio answers 400, code 45008.
    Reject,
}

/// All switches. `GET /__sim/switches` shows them; `POST` changes the ones in its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent question about Twilio")]
pub struct Switches {
    /// Status of the answer when provisioning creates a user.
    pub provision_status: u16,
    /// Status of the answer when provisioning updates a user.
    pub provision_update_status: u16,
    /// What happens when a client provisions a deprovisioned username.
    pub provision_reactivates: Reactivation,
    /// The `version` of a new user: 0 or 1.
    pub version_starts_at: u64,
    /// Status of deprovisioning an already deprovisioned user.
    pub deprovision_twice_status: u16,
    /// Whether deprovisioning invalidates the user's live tokens.
    pub tokens_die_at_deprovision: bool,
    /// Whether `Username=` finds deactivated users.
    pub find_returns_deactivated: bool,
    /// Whether `Username=` is case-sensitive.
    pub find_case_sensitive: bool,
    /// Deliberately wrong: a find that matches also returns a second user.
    pub find_returns_two: bool,
    /// Status of a successful mint, 200 or 201.
    pub mint_status: u16,
    /// The longest ttl of a minted token.
    pub max_ttl_seconds: i64,
    /// What happens when a client asks for a longer ttl.
    pub over_max_ttl: OverTtl,
    /// What happens when a client mints for a deactivated user.
    pub mint_deactivated: Deactivated,
    /// Deliberately wrong: the minted token belongs to another user.
    pub mint_for_other_user: bool,
    /// Deliberately wrong: the minted token also has the role `admin`.
    pub mint_wider_roles: bool,
    /// Status of a call with a Restricted API key (code 8001).
    pub restricted_key_status: u16,
    /// What Authorize does with an unknown member in `state`.
    pub state_extra_member: StateMember,
    /// Whether an SSO sign-in reactivates a deprovisioned user, as [`Switches::provision_reactivates`]
    /// allows. If false, Twilio denies the sign-in.
    pub sso_login_reactivates: bool,
    /// Whether the configuration's list begins with an inactive entry.
    pub config_inactive_first: bool,
    /// Status of the answer that refuses a code or refresh token.
    pub exchange_error_status: u16,
    /// Twilio error code of the answer that refuses a code or refresh token.
    pub exchange_error_code: u32,
    /// Status of the answer to an unknown SSO profile (code 70251).
    pub exchange_profile_status: u16,
    /// Whether a refresh replaces the refresh token.
    pub refresh_rotates: bool,
    /// Deliberately wrong: the exchanged token belongs to another account.
    pub exchange_other_account: bool,
    /// Deliberately wrong: the exchanged token belongs to another instance.
    pub exchange_other_instance: bool,
    /// Lifetime of an SSO access token.
    pub sso_token_ttl_seconds: i64,
    /// Longest lifetime of an SSO session; a refresh cannot extend a token beyond it.
    pub sso_max_lifetime_seconds: i64,
    /// Status of a successful Tokens/Info.
    pub info_status: u16,
    /// Status of an IAM answer with `valid: false`.
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
    /// A copy of these switches, with those in `patch` changed.
    pub(crate) fn merged(&self, patch: &serde_json::Map<String, serde_json::Value>) -> Result<Self, serde_json::Error> {
        let mut whole = serde_json::to_value(self)?;
        if let Some(members) = whole.as_object_mut() {
            members.extend(patch.clone());
        }
        serde_json::from_value(whole)
    }
}
