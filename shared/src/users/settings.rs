//! The policy settings, read from the environment.

use std::str::FromStr;

use crate::base::settings::Reader;
use crate::domain::policy::{JustInTime, Policy};
use crate::domain::{Role, RoleSet, TokenTtl};
use crate::users::GroupRoles;

/// The policy settings.
#[derive(Debug, Clone)]
pub struct PolicySettings {
    /// The policy, from these variables (defaults in parentheses):
    /// * `FLEXGATE_ALLOWED_ROLES` (`agent,supervisor`): the roles that Flexgate may give.
    /// * `FLEXGATE_DEFAULT_ROLES` (`agent`): the roles of a person for whom no source names an allowed role.
    /// * `FLEXGATE_JUST_IN_TIME` (`off`): `off`, `create` or `create-and-sync`.
    /// * `FLEXGATE_MAX_TTL_SECONDS` (3600): the longest lifetime of a minted token.
    pub policy: Policy,
    /// `FLEXGATE_MINTS_PER_MINUTE` (default 30): how many tokens one person may mint per minute.
    pub mints_per_minute: u32,
    /// `FLEXGATE_SCIM_LAST_ADMIN` (default `protect`): whether Flexgate protects the last administrator. Despite its
    /// name, the setting applies to changes from every source.
    pub last_admin: LastAdmin,
    /// `FLEXGATE_SCIM_GROUP_ROLES` (default `{}`): which SCIM group gives which role.
    pub group_roles: GroupRoles,
}

/// Whether Flexgate refuses to remove the last active administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastAdmin {
    /// `protect`, the default: Flexgate refuses the change.
    Protected,
    /// `allow`: Flexgate makes the change.
    Unprotected,
}

impl FromStr for LastAdmin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "protect" => Ok(Self::Protected),
            "allow" => Ok(Self::Unprotected),
            _ => Err("must be protect or allow"),
        }
    }
}

impl PolicySettings {
    /// Reads the policy settings.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let allowed = reader.optional("FLEXGATE_ALLOWED_ROLES", roles);
        let default = reader.optional("FLEXGATE_DEFAULT_ROLES", roles);
        let just_in_time = reader.optional("FLEXGATE_JUST_IN_TIME", |text| match text {
            "off" => Ok(JustInTime::Off),
            "create" => Ok(JustInTime::Create),
            "create-and-sync" => Ok(JustInTime::CreateAndSync),
            _ => Err("must be off, create or create-and-sync"),
        });
        let max_ttl = reader.optional("FLEXGATE_MAX_TTL_SECONDS", |text| {
            text.parse().ok().and_then(|seconds| TokenTtl::from_seconds(seconds).ok()).ok_or("must be from 60 to 86400")
        });
        let mints_per_minute = reader.optional("FLEXGATE_MINTS_PER_MINUTE", |text| {
            text.parse()
                .ok()
                .filter(|limit| (1..=60_000).contains(limit))
                .ok_or("must be a whole number from 1 to 60000")
        });
        let last_admin = reader.or("FLEXGATE_SCIM_LAST_ADMIN", LastAdmin::Protected);
        let group_roles = reader.or("FLEXGATE_SCIM_GROUP_ROLES", GroupRoles::default());
        let policy = Policy {
            allowed_roles: allowed?.unwrap_or_else(|| RoleSet::from([Role::Agent, Role::Supervisor])),
            default_roles: default?.unwrap_or_else(|| RoleSet::from([Role::Agent])),
            just_in_time: just_in_time?.unwrap_or_default(),
            max_ttl: max_ttl?.unwrap_or(TokenTtl::DEFAULT),
        };
        Some(Self {
            policy,
            mints_per_minute: mints_per_minute?.unwrap_or(30),
            last_admin: last_admin?,
            group_roles: group_roles?,
        })
    }
}

/// Parses a comma-separated list of roles. `none` is the empty list.
fn roles(text: &str) -> Result<RoleSet, &'static str> {
    if text == "none" {
        return Ok(RoleSet::new());
    }
    let roles: Result<RoleSet, _> = text.split(',').map(|role| role.trim().parse::<Role>()).collect();
    roles.map_err(|_| "must be a comma-separated list of agent, supervisor and admin, or none")
}
