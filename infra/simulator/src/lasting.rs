//! The state that survives a restart. Each part remembers its changed rows, so the cost of a save does not depend on
//! the number of rows.

use serde::Deserialize;

use crate::rows::Rows;
use crate::twilio::directory::{Directory, FlexUser};
use crate::twilio::sso::Session;
use crate::twilio::team_list::{LegacyTeam, Part};

#[derive(Debug, Default)]
pub(crate) struct Lasting {
    pub(crate) directory: Directory,
    /// Sessions by refresh token.
    pub(crate) sessions: Rows<Session>,
    /// The `jti` of each token that a test has revoked.
    pub(crate) revoked: Rows<()>,
    /// Whether the next save must first delete all rows, because the state was reset.
    emptied: bool,
}

/// The contents of `state.json`, which earlier versions of the simulator rewrote on each change.
#[derive(Deserialize)]
pub(crate) struct Legacy {
    directory: LegacyDirectory,
    sessions: Vec<Session>,
    revoked: Vec<String>,
}

#[derive(Deserialize)]
struct LegacyDirectory {
    users: Vec<FlexUser>,
    teams: Vec<LegacyTeam>,
}

impl Lasting {
    /// Creates an empty state, whose next save deletes all earlier rows.
    pub(crate) fn emptied() -> Self {
        Self { emptied: true, ..Self::default() }
    }

    pub(crate) fn is_emptied(&self) -> bool {
        self.emptied
    }

    pub(crate) fn is_saved(&self) -> bool {
        !self.emptied && self.directory.is_saved() && self.sessions.is_saved() && self.revoked.is_saved()
    }

    pub(crate) fn mark_saved(&mut self) {
        self.emptied = false;
        self.directory.mark_saved();
        self.sessions.mark_saved();
        self.revoked.mark_saved();
    }
}

impl From<Legacy> for Lasting {
    /// Converts the contents of `state.json`. Marks every row as changed, so that the next save writes all rows.
    fn from(legacy: Legacy) -> Self {
        let mut lasting = Self::default();
        for user in legacy.directory.users {
            lasting.directory.add(user);
        }
        for LegacyTeam { team, members, owners } in legacy.directory.teams {
            let sid = team.sid.clone();
            let teams = &mut lasting.directory.teams;
            teams.create(team);
            for (part, people) in [(Part::Members, members), (Part::Owners, owners)] {
                for user in people {
                    teams.join(&sid, part, &user);
                }
            }
        }
        for session in legacy.sessions {
            lasting.sessions.put(session.refresh_token.clone(), session);
        }
        for jti in legacy.revoked {
            lasting.revoked.put(jti, ());
        }
        lasting
    }
}
