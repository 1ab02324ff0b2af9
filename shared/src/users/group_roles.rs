//! The roles that SCIM groups give.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::base::strict_json::{self, StrictJsonError};
use crate::domain::{Role, folded};
use crate::store::scim::{Group, Member};

/// `FLEXGATE_SCIM_GROUP_ROLES`: the role that each SCIM group gives, by the group's name. Names match regardless of
/// case and Unicode composition. A group outside this list gives no role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupRoles(BTreeMap<String, Role>);

impl GroupRoles {
    /// Returns the role that the group with this name gives.
    #[must_use]
    pub fn of(&self, display_name: &str) -> Option<Role> {
        self.0.get(&folded(display_name)).copied()
    }

    /// Whether no group gives a role.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the members whom a change to the group affects: those who joined or left, and those whose role from the
    /// group changed. Leaves out members who have already been reconciled since the change, or whose reconciliation is
    /// queued. The code calls the returned members "unannounced".
    pub fn unannounced<'a>(&self, group: &'a Group) -> impl Iterator<Item = &'a Member> + use<'a> {
        let role = self.of(&group.display_name);
        group.members.iter().filter(move |member| !member.present || member.announced != role)
    }

    /// Returns the group with another name. If the new name gives another role, all members count as affected by the
    /// change.
    ///
    /// This includes a member whose recorded role (`announced`) is already the new one. The record may be out of date,
    /// because an unfinished reconciliation may have given this member the role for the old name.
    #[must_use]
    pub fn renamed(&self, mut group: Group, display_name: String) -> Group {
        let (before, after) = (self.of(&group.display_name), self.of(&display_name));
        if before != after {
            let unaware = group.members.iter_mut().filter(|member| member.present && member.announced == after);
            unaware.for_each(|member| member.announced = before);
        }
        Group { display_name, ..group }
    }

    /// Returns the group as it must be stored once every affected member has been reconciled, or has a queued job that
    /// will do this. Leaves out members who have left the group.
    #[must_use]
    pub fn announced(&self, mut group: Group) -> Group {
        let role = self.of(&group.display_name);
        group.members.retain(|member| member.present);
        group.members.iter_mut().for_each(|member| member.announced = role);
        group
    }
}

impl FromStr for GroupRoles {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const MUST: &str = "must be a JSON object of group names and roles, like {\"Flex Agents\": \"agent\"}";
        const TWICE: &str = "names a group twice";
        let document = strict_json::parse(text.as_bytes()).map_err(|error| match error {
            StrictJsonError::Duplicate { .. } => TWICE,
            _ => MUST,
        })?;
        let map: BTreeMap<String, Role> = serde_json::from_value(document).map_err(|_| MUST)?;
        let count = map.len();
        let by_name: BTreeMap<_, _> = map.into_iter().map(|(name, role)| (folded(&name), role)).collect();
        if by_name.len() == count { Ok(Self(by_name)) } else { Err(TWICE) }
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    #[test]
    fn a_group_gives_its_role_in_any_case_and_no_other_group_gives_any() {
        let roles: GroupRoles = r#"{"Flex Agents": "agent", "Leads": "supervisor"}"#.parse().unwrap();
        assert_eq!(roles.of("flex agents"), Some(Role::Agent));
        assert_eq!(roles.of("Flex"), None);
        for twice in [r#"{"A": "agent", "a": "admin"}"#, r#"{"A": "agent", "A": "admin"}"#] {
            assert_eq!(twice.parse::<GroupRoles>(), Err("names a group twice"));
        }
        assert!(r#"{"A": "owner"}"#.parse::<GroupRoles>().is_err());
    }

    #[test]
    fn whoever_joins_leaves_or_gets_another_role_is_announced_once() {
        let roles: GroupRoles = r#"{"Leads": "supervisor"}"#.parse().unwrap();
        let member = |digit: u8, present, announced| Member {
            user: format!("FU{digit:032x}").parse().unwrap(),
            present,
            announced,
        };
        let members = vec![
            member(1, true, Some(Role::Supervisor)),
            member(2, true, None),
            member(3, true, Some(Role::Agent)),
            member(4, false, Some(Role::Supervisor)),
            member(5, false, None),
        ];
        let at = OffsetDateTime::UNIX_EPOCH;
        let (id, display_name) = ("g".to_owned(), "leads".to_owned());
        let group = Group { id, display_name, external_id: None, members, version: 1, created_at: at, updated_at: at };
        let open = |group: &Group| roles.unannounced(group).map(|member| member.user.clone()).collect::<Vec<_>>();
        assert_eq!(open(&group), group.members[1..].iter().map(|member| member.user.clone()).collect::<Vec<_>>());
        let announced = roles.announced(group.clone());
        assert_eq!((open(&announced).len(), announced.members.len()), (0, 3));
        // Member 2 counts as affected too, because an unfinished reconciliation may have given them the role for the
        // old name.
        assert_eq!(open(&roles.renamed(group, "Crew".to_owned())).len(), 5);
        assert_eq!(open(&roles.renamed(announced.clone(), "LEADS".to_owned())).len(), 0);
        // The group gets its old name back before any member is reconciled. All members count as affected.
        let crew = roles.renamed(announced, "Crew".to_owned());
        assert_eq!(open(&roles.renamed(crew, "Leads".to_owned())).len(), 3);
    }
}
