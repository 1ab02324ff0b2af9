//! Creates many Flex users at once, for tests of large directories.

use serde::Deserialize;

use crate::random;
use crate::switches::Numeric as _;
use crate::twilio::directory::FlexUser;
use crate::twilio::worker::Worker;
use crate::world::State;

const MOST: usize = 1_000_000;
const LONGEST_PREFIX: usize = 200;

/// A request for `count` users named `{prefix}{n}`, where `n` has six digits and counts up from `first`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seed {
    count: usize,
    #[serde(default = "user")]
    prefix: String,
    #[serde(default)]
    first: usize,
    #[serde(default = "agent")]
    roles: Vec<String>,
    /// Whether the users are deprovisioned at once.
    #[serde(default)]
    deactivated: bool,
}

fn user() -> String {
    "user".to_owned()
}

fn agent() -> Vec<String> {
    vec!["agent".to_owned()]
}

impl Seed {
    /// Creates all users. If that is impossible, creates none and returns the reason.
    pub(crate) fn sow(&self, state: &mut State) -> Result<usize, String> {
        if !(1..=MOST).contains(&self.count) || self.first > MOST {
            return Err(format!("count: must be 1 to {MOST}, and first at most that"));
        }
        if self.prefix.chars().count() > LONGEST_PREFIX {
            return Err(format!("prefix: must have at most {LONGEST_PREFIX} characters"));
        }
        // Accept any role name, because other Twilio products give roles that Provision does not accept, such as
        // wfo.full_access.
        if self.roles.is_empty() || self.roles.iter().any(String::is_empty) {
            return Err("roles: must be a non-empty list of names".to_owned());
        }
        let numbers = self.first..self.first + self.count;
        let now = state.now();
        let version = state.switches.version_starts_at.number();
        let directory = &mut state.lasting.directory;
        let taken = numbers.clone().map(|n| self.username(n)).find(|name| directory.by_folded_username(name).is_some());
        if let Some(name) = taken {
            return Err(format!("prefix: there is a user {name} already"));
        }
        for n in numbers {
            let mut user = FlexUser {
                sid: random::sid("FU"),
                username: self.username(n),
                email: format!("{}@example.com", self.username(n)),
                full_name: format!("User {n}"),
                roles: self.roles.clone(),
                locale: None,
                user_sid: None,
                deactivated: false,
                deactivated_at: None,
                created: now,
                updated: now,
                version,
                worker: Some(Worker::new(now)),
                generation: 0,
            };
            if self.deactivated {
                user.deactivate(now);
            }
            directory.add(user);
        }
        Ok(self.count)
    }

    fn username(&self, n: usize) -> String {
        format!("{}{n:06}", self.prefix)
    }
}
