//! Teams as Twilio stores them, with indexes for fast look-ups of a user's teams and a team's members.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

/// Teams in the order of their creation.
#[derive(Debug, Default)]
pub(crate) struct TeamList {
    teams: BTreeMap<i64, Team>,
    /// The key of each team, by SID.
    keys: HashMap<String, i64>,
    /// Each user's teams, by Flex user SID.
    teams_of: HashMap<String, TeamsOf>,
    changed: Vec<TeamRow>,
    /// The key of the next team. Keys are never reused, because a removed team's rows may still be in storage.
    next: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Team {
    pub(crate) sid: String,
    pub(super) friendly_name: String,
    pub(super) description: Option<String>,
    pub(super) created: i64,
    /// `None` in the data of earlier versions.
    #[serde(default)]
    pub(super) updated: Option<i64>,
    /// The level in the hierarchy, from 1 to 3.
    #[serde(default = "lowest")]
    pub(super) level: u8,
    #[serde(default)]
    pub(super) parent: Option<String>,
    #[serde(default)]
    pub(super) version: u64,
    #[serde(skip)]
    members: Roster,
    #[serde(skip)]
    owners: Roster,
}

fn lowest() -> u8 {
    1
}

/// A team in the format of `state.json`.
#[derive(Deserialize)]
pub(crate) struct LegacyTeam {
    #[serde(flatten)]
    pub(crate) team: Team,
    pub(crate) members: Vec<String>,
    pub(crate) owners: Vec<String>,
}

/// One of a team's two lists of people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Members,
    Owners,
}

/// Flex user SIDs, in the order in which the users joined.
#[derive(Clone, Debug, Default)]
struct Roster {
    people: BTreeMap<i64, String>,
    keys: HashMap<String, i64>,
}

/// The teams to which a user belongs, and the teams that the user owns.
#[derive(Debug, Default)]
struct TeamsOf {
    member: BTreeSet<i64>,
    owner: BTreeSet<i64>,
}

/// The key of a row that has changed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TeamRow {
    Team(i64),
    Person { team: i64, part: Part, number: i64 },
}

impl Team {
    pub(super) fn new(created: i64) -> Self {
        Self {
            sid: crate::random::sid("QO"),
            friendly_name: String::new(),
            description: None,
            created,
            updated: None,
            level: lowest(),
            parent: None,
            version: 0,
            members: Roster::default(),
            owners: Roster::default(),
        }
    }

    pub(super) fn people(&self, part: Part) -> impl Iterator<Item = &str> {
        self.roster(part).people.values().map(String::as_str)
    }

    pub(super) fn count(&self, part: Part) -> usize {
        self.roster(part).people.len()
    }

    fn roster(&self, part: Part) -> &Roster {
        match part {
            Part::Members => &self.members,
            Part::Owners => &self.owners,
        }
    }

    fn roster_mut(&mut self, part: Part) -> &mut Roster {
        match part {
            Part::Members => &mut self.members,
            Part::Owners => &mut self.owners,
        }
    }
}

impl TeamsOf {
    fn teams(&self, part: Part) -> &BTreeSet<i64> {
        match part {
            Part::Members => &self.member,
            Part::Owners => &self.owner,
        }
    }

    fn teams_mut(&mut self, part: Part) -> &mut BTreeSet<i64> {
        match part {
            Part::Members => &mut self.member,
            Part::Owners => &mut self.owner,
        }
    }
}

impl TeamList {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Team> {
        self.teams.values()
    }

    pub(super) fn get(&self, sid: &str) -> Option<&Team> {
        self.teams.get(self.keys.get(sid)?)
    }

    /// Returns the SID of the oldest team whose list `part` (members or owners) contains the user.
    pub(super) fn first_of(&self, user: &str, part: Part) -> Option<&str> {
        let key = self.teams_of.get(user)?.teams(part).first()?;
        self.teams.get(key).map(|team| team.sid.as_str())
    }

    pub(crate) fn create(&mut self, team: Team) {
        let key = self.next;
        self.load_team(key, team);
        self.changed.push(TeamRow::Team(key));
    }

    /// Changes a team, except for its people. Returns `None` for an unknown team.
    pub(super) fn change<T>(&mut self, sid: &str, change: impl FnOnce(&mut Team) -> T) -> Option<T> {
        let key = *self.keys.get(sid)?;
        let outcome = change(self.teams.get_mut(&key)?);
        self.changed.push(TeamRow::Team(key));
        Some(outcome)
    }

    /// Removes the user from every team's list of members. A user who is in no such list is a member of the default
    /// team.
    pub(super) fn leave_all(&mut self, user: &str) {
        while let Some(sid) = self.first_of(user, Part::Members).map(str::to_owned) {
            self.leave(&sid, Part::Members, user);
        }
    }

    /// Removes a team. Returns true if the team existed.
    pub(super) fn remove(&mut self, sid: &str) -> bool {
        let Some(key) = self.keys.remove(sid) else { return false };
        if let Some(team) = self.teams.remove(&key) {
            for part in Part::BOTH {
                for user in team.people(part) {
                    self.forget_team_of(user, part, key);
                }
            }
        }
        self.changed.push(TeamRow::Team(key));
        true
    }

    /// Adds a user to a team, at most once. Returns false for an unknown team.
    pub(crate) fn join(&mut self, sid: &str, part: Part, user: &str) -> bool {
        let Some(key) = self.keys.get(sid).copied() else { return false };
        let Some(team) = self.teams.get_mut(&key) else { return false };
        let roster = team.roster_mut(part);
        if !roster.keys.contains_key(user) {
            let number = roster.people.last_key_value().map_or(0, |(last, _)| last + 1);
            self.load_person(key, part, number, user.to_owned());
            self.changed.push(TeamRow::Person { team: key, part, number });
        }
        true
    }

    /// Removes a user from a team, if the user is in it. Returns false for an unknown team.
    pub(super) fn leave(&mut self, sid: &str, part: Part, user: &str) -> bool {
        let Some(key) = self.keys.get(sid).copied() else { return false };
        let Some(team) = self.teams.get_mut(&key) else { return false };
        let roster = team.roster_mut(part);
        if let Some(number) = roster.keys.remove(user) {
            roster.people.remove(&number);
            self.forget_team_of(user, part, key);
            self.changed.push(TeamRow::Person { team: key, part, number });
        }
        true
    }

    fn forget_team_of(&mut self, user: &str, part: Part, key: i64) {
        if let Some(teams) = self.teams_of.get_mut(user) {
            teams.teams_mut(part).remove(&key);
        }
    }

    /// Adds a team from storage, without marking it as changed.
    pub(crate) fn load_team(&mut self, key: i64, team: Team) {
        self.next = self.next.max(key + 1);
        self.keys.insert(team.sid.clone(), key);
        self.teams.insert(key, team);
    }

    /// Adds a person from storage, without marking the row as changed. Returns false for an unknown team.
    pub(crate) fn load_person(&mut self, key: i64, part: Part, number: i64, user: String) -> bool {
        let Some(team) = self.teams.get_mut(&key) else { return false };
        let roster = team.roster_mut(part);
        roster.keys.insert(user.clone(), number);
        roster.people.insert(number, user.clone());
        self.teams_of.entry(user).or_default().teams_mut(part).insert(key);
        true
    }

    pub(crate) fn changed(&self) -> &[TeamRow] {
        &self.changed
    }

    pub(crate) fn mark_saved(&mut self) {
        self.changed.clear();
    }

    /// Returns the team of a row, or `None` if the team was removed.
    pub(crate) fn team_row(&self, key: i64) -> Option<&Team> {
        self.teams.get(&key)
    }

    /// Returns the person of a row, or `None` if the person or the team was removed.
    pub(crate) fn person_row(&self, key: i64, part: Part, number: i64) -> Option<&str> {
        self.teams.get(&key)?.roster(part).people.get(&number).map(String::as_str)
    }
}

impl Part {
    pub(super) const BOTH: [Self; 2] = [Self::Members, Self::Owners];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Owners => "owners",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::BOTH.into_iter().find(|part| part.name() == name)
    }
}
