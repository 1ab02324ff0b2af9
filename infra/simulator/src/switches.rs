//! What nobody outside Twilio knows for certain, one switch per question.
//! The defaults are the likeliest answers; a client has to survive the others too.

use serde::{Deserialize, Serialize};

/// What provisioning a deprovisioned username does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reactivation {
    /// The same `FU…` is active again.
    SameSid,
    /// A new `FU…` is made; the old one stays deactivated.
    NewSid,
    /// The user is updated but stays deactivated.
    StaysDeactivated,
}

/// What minting does with a ttl above [`Switches::max_ttl_seconds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverTtl {
    /// A token with the longest ttl.
    Clamp,
    /// 400, code 45004.
    Reject,
}

/// What Authorize does with a `state` holding more than the SDK puts there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateMember {
    /// It comes back unchanged.
    Tolerate,
    /// Authorize refuses.
    Reject,
    /// It comes back with the two known members only.
    Strip,
}

/// What minting for a deactivated user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deactivated {
    /// A token is minted.
    Mint,
    /// 400, code 45008.
    Reject,
}

/// Every switch. `GET /__sim/switches` shows them, `POST` changes those it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent question about Twilio")]
pub struct Switches {
    /// Status of a successful provision that creates.
    pub provision_status: u16,
    /// Status of a successful provision that updates.
    pub provision_update_status: u16,
    /// What provisioning a deprovisioned username does.
    pub provision_reactivates: Reactivation,
    /// The first value of `version`: 0 or 1.
    pub version_starts_at: u64,
    /// Status of deprovisioning a user who already is.
    pub deprovision_twice_status: u16,
    /// Whether deprovisioning kills the user's live tokens.
    pub tokens_die_at_deprovision: bool,
    /// Whether `Username=` finds deactivated users.
    pub find_returns_deactivated: bool,
    /// Whether `Username=` compares case.
    pub find_case_sensitive: bool,
    /// A lie: a find that matches returns a second user too.
    pub find_returns_two: bool,
    /// Status of a successful mint, 200 or 201.
    pub mint_status: u16,
    /// The longest ttl of a minted token.
    pub max_ttl_seconds: i64,
    /// What a longer one does.
    pub over_max_ttl: OverTtl,
    /// What minting for a deactivated user does.
    pub mint_deactivated: Deactivated,
    /// A lie: the minted token is somebody else's.
    pub mint_for_other_user: bool,
    /// A lie: the minted token also has the role `admin`.
    pub mint_wider_roles: bool,
    /// Status of a call with a Restricted API key (code 8001).
    pub restricted_key_status: u16,
    /// What Authorize does with an unknown member in `state`.
    pub state_extra_member: StateMember,
    /// Whether signing in through SSO makes a deprovisioned user active again, as far as
    /// [`Switches::provision_reactivates`] lets it; otherwise the sign-in is denied.
    pub sso_login_reactivates: bool,
    /// The configuration's list begins with an inactive entry.
    pub config_inactive_first: bool,
    /// Status of a refused code or refresh token.
    pub exchange_error_status: u16,
    /// Code of a refused code or refresh token.
    pub exchange_error_code: u32,
    /// Status of an unknown SSO profile (code 70251).
    pub exchange_profile_status: u16,
    /// Whether a refresh replaces the refresh token.
    pub refresh_rotates: bool,
    /// A lie: the exchanged token is of another account.
    pub exchange_other_account: bool,
    /// A lie: the exchanged token is of another instance.
    pub exchange_other_instance: bool,
    /// Lifetime of an SSO access token.
    pub sso_token_ttl_seconds: i64,
    /// Longest lifetime of an SSO session; no refresh moves an expiration beyond it.
    pub sso_max_lifetime_seconds: i64,
    /// Status of a successful Tokens/Info.
    pub info_status: u16,
    /// Status of an IAM answer with `valid: false`.
    pub iam_invalid_status: u16,
    /// Answers without the fields Twilio may leave out.
    pub sparse_responses: bool,
    /// Errors as RFC 9457 problem documents.
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
    /// These switches with the named ones changed.
    pub(crate) fn merged(&self, patch: &serde_json::Map<String, serde_json::Value>) -> Result<Self, serde_json::Error> {
        let mut whole = serde_json::to_value(self)?;
        if let Some(members) = whole.as_object_mut() {
            members.extend(patch.clone());
        }
        serde_json::from_value(whole)
    }
}
