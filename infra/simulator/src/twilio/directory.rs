//! Flex users as Twilio stores them, and their JSON formats.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::team_list::{Part, TeamList};
use super::worker::Worker;
use crate::switches::{LongUsername, Numeric as _, Reactivation};
use crate::world::State;
use crate::{ACCOUNT_SID, DEFAULT_TEAM_SID, INSTANCE_SID, WORKSPACE_SID, clock, random};

/// The longest `friendly_name` of a worker, in characters.
const LONGEST_WORKER_NAME: usize = 64;

pub(crate) const ROLES: [&str; 3] = ["agent", "supervisor", "admin"];

/// Users in the order of their creation, with indexes for fast look-ups.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    users: Vec<FlexUser>,
    pub(crate) teams: TeamList,
    by_sid: HashMap<String, usize>,
    /// For each lower-case username, the positions of its users in `users`, oldest first.
    by_name: HashMap<String, Vec<usize>>,
    by_worker: HashMap<String, usize>,
    /// The positions in `users` of the users that have changed since the last save.
    changed: Vec<usize>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FlexUser {
    pub(crate) sid: String,
    pub(crate) username: String,
    pub(crate) email: String,
    pub(crate) full_name: String,
    pub(crate) roles: Vec<String>,
    pub(crate) locale: Option<String>,
    pub(crate) user_sid: Option<String>,
    pub(crate) deactivated: bool,
    pub(crate) deactivated_at: Option<i64>,
    pub(crate) created: i64,
    pub(crate) updated: i64,
    pub(crate) version: u64,
    pub(crate) worker: Option<Worker>,
    /// Deprovisioning increments this number. A token with a lower number is invalid.
    pub(crate) generation: u64,
}

/// The values that provisioning or an SSO sign-in sets on a user.
pub(crate) struct Wanted {
    pub(crate) username: String,
    pub(crate) email: String,
    pub(crate) full_name: String,
    pub(crate) roles: Vec<String>,
    /// The worker's attributes. `None` leaves them unchanged.
    pub(crate) attributes: Option<Map<String, Value>>,
}

impl Directory {
    pub(crate) fn users(&self) -> &[FlexUser] {
        &self.users
    }

    pub(crate) fn by_sid(&self, sid: &str) -> Option<&FlexUser> {
        self.users.get(*self.by_sid.get(sid)?)
    }

    pub(crate) fn by_worker(&self, worker_sid: &str) -> Option<(&FlexUser, &Worker)> {
        let user = self.users.get(*self.by_worker.get(worker_sid)?)?;
        Some((user, user.worker.as_ref()?))
    }

    /// Returns the user with exactly this username. Prefers an active user.
    pub(crate) fn by_username(&self, username: &str) -> Option<&FlexUser> {
        preferred(self.alike(username).filter(|user| user.username == username))
    }

    /// Returns the user with this username, ignoring case. Prefers an active user.
    pub(crate) fn by_folded_username(&self, username: &str) -> Option<&FlexUser> {
        preferred(self.alike(username))
    }

    fn alike(&self, username: &str) -> impl DoubleEndedIterator<Item = &FlexUser> + Clone {
        let places = self.by_name.get(&username.to_lowercase()).map(Vec::as_slice).unwrap_or_default();
        places.iter().filter_map(|place| self.users.get(*place))
    }

    pub(crate) fn add(&mut self, user: FlexUser) {
        self.changed.push(self.users.len());
        self.load(user);
    }

    /// Adds a user from storage, without marking it as changed.
    pub(crate) fn load(&mut self, user: FlexUser) {
        let place = self.users.len();
        self.by_sid.insert(user.sid.clone(), place);
        self.by_name.entry(user.username.to_lowercase()).or_default().push(place);
        if let Some(worker) = &user.worker {
            self.by_worker.insert(worker.sid.clone(), place);
        }
        self.users.push(user);
    }

    /// Changes a user, except for the SID and the username. Returns `None` for an unknown user.
    pub(super) fn change<T>(&mut self, sid: &str, change: impl FnOnce(&mut FlexUser) -> T) -> Option<T> {
        let place = *self.by_sid.get(sid)?;
        let user = self.users.get_mut(place)?;
        let worker = user.worker.as_ref().map(|worker| worker.sid.clone());
        let outcome = change(user);
        if let Some(worker) = worker {
            self.by_worker.remove(&worker);
        }
        if let Some(worker) = &user.worker {
            self.by_worker.insert(worker.sid.clone(), place);
        }
        self.changed.push(place);
        Some(outcome)
    }

    /// Returns the changed users, each with its position in `users`.
    pub(crate) fn changed(&self) -> impl Iterator<Item = (usize, &FlexUser)> {
        self.changed.iter().filter_map(|place| self.users.get(*place).map(|user| (*place, user)))
    }

    pub(crate) fn is_saved(&self) -> bool {
        self.changed.is_empty() && self.teams.changed().is_empty()
    }

    pub(crate) fn mark_saved(&mut self) {
        self.changed.clear();
        self.teams.mark_saved();
    }
}

fn preferred<'u>(mut users: impl DoubleEndedIterator<Item = &'u FlexUser> + Clone) -> Option<&'u FlexUser> {
    users.clone().find(|user| !user.deactivated).or_else(|| users.next_back())
}

/// Creates the user, or updates the user with the same username. Returns true if the user is new.
pub(crate) fn upsert(state: &mut State, wanted: Wanted) -> Result<(FlexUser, bool), String> {
    let now = state.now();
    let switches = &state.switches;
    let is_long = wanted.username.chars().count() > LONGEST_WORKER_NAME;
    if is_long && switches.long_username == LongUsername::Reject {
        return Err(format!("username must have at most {LONGEST_WORKER_NAME} characters"));
    }
    let directory = &mut state.lasting.directory;
    let existing = directory.by_username(&wanted.username).map(|user| (user.sid.clone(), user.deactivated));
    let reuse = match existing {
        Some((_, true)) if switches.provision_reactivates == Reactivation::NewSid => None,
        Some((sid, _)) => Some(sid),
        None => None,
    };
    let created = reuse.is_none();
    let mut user = match reuse.and_then(|sid| directory.by_sid(&sid).cloned()) {
        Some(mut user) => {
            user.version += 1;
            user.updated = now;
            if user.deactivated && switches.provision_reactivates == Reactivation::SameSid {
                user.deactivated = false;
                user.deactivated_at = None;
                user.worker = Some(Worker::new(now));
            }
            user
        }
        None => FlexUser {
            sid: random::sid("FU"),
            username: wanted.username,
            email: String::new(),
            full_name: String::new(),
            roles: Vec::new(),
            locale: None,
            user_sid: None,
            deactivated: false,
            deactivated_at: None,
            created: now,
            updated: now,
            version: switches.version_starts_at.number(),
            worker: Some(Worker::new(now)),
            generation: 0,
        },
    };
    user.email = wanted.email;
    user.full_name = wanted.full_name;
    user.roles = wanted.roles;
    if let Some(worker) = &mut user.worker
        && is_long
        && switches.long_username == LongUsername::Cut
    {
        worker.friendly_name = Some(user.username.chars().take(LONGEST_WORKER_NAME).collect());
    }
    if let (Some(attributes), Some(worker)) = (&wanted.attributes, &mut user.worker) {
        worker.set_attributes(attributes)?;
        worker.updated = now;
        worker.version += 1;
    }
    if created {
        directory.add(user.clone());
    } else {
        directory.change(&user.sid, |stored| *stored = user.clone());
    }
    Ok((user, created))
}

impl FlexUser {
    pub(crate) fn deactivate(&mut self, now: i64) {
        self.deactivated = true;
        self.deactivated_at = Some(now);
        self.updated = now;
        self.version += 1;
        self.worker = None;
        self.generation += 1;
    }

    /// The username as a Twilio identity: every byte except an ASCII letter or digit becomes `_` and its hex value.
    pub(crate) fn identity(&self) -> String {
        self.username.bytes().fold(String::new(), |mut out, byte| {
            if byte.is_ascii_alphanumeric() {
                out.push(char::from(byte));
            } else {
                let _ = write!(out, "_{byte:02X}");
            }
            out
        })
    }

    /// The user in Provision's format, with the worker and the teams as objects.
    pub(crate) fn provisioned(&self, directory: &Directory, sparse: bool) -> Value {
        let mut shape = self.common();
        let member = directory.teams.first_of(&self.sid, Part::Members);
        let owner = directory.teams.first_of(&self.sid, Part::Owners);
        shape.insert("flex_team_sid".to_owned(), json!(member.unwrap_or(DEFAULT_TEAM_SID)));
        shape.insert("teams".to_owned(), json!({ "team_member": member, "team_owner": owner }));
        let worker_sid = self.worker.as_ref().map(|worker| worker.sid.as_str());
        shape.insert("worker".to_owned(), json!({ "worker_sid": worker_sid, "workspace_sid": WORKSPACE_SID }));
        if sparse {
            drop_members(
                &mut shape,
                &["locale", "deactivated_date", "teams", "flex_team_sid", "version", "created_date", "updated_date"],
            );
        }
        Value::Object(shape)
    }

    /// The user in the format of the v1 list, and of Twilio's answers to the operations get and update. The worker's
    /// fields are at the top level.
    pub(crate) fn flat(&self, sparse: bool) -> Value {
        let mut shape = self.common();
        shape.insert("worker_sid".to_owned(), json!(self.worker.as_ref().map(|worker| worker.sid.as_str())));
        shape.insert("workspace_sid".to_owned(), json!(WORKSPACE_SID));
        if sparse {
            drop_members(&mut shape, &["locale", "deactivated_date", "version", "created_date", "updated_date"]);
        }
        Value::Object(shape)
    }

    /// The user in the format of Twilio's answer to the operation find.
    pub(crate) fn found(&self, sparse: bool) -> Value {
        let mut shape = self.common();
        shape.insert("user_sid".to_owned(), json!(self.user_sid));
        shape.insert("worker_sid".to_owned(), json!(self.worker.as_ref().map(|worker| worker.sid.as_str())));
        shape.insert("workspace_sid".to_owned(), json!(WORKSPACE_SID));
        if sparse {
            drop_members(
                &mut shape,
                &["worker_sid", "full_name", "deactivated", "deactivated_date", "locale", "version"],
            );
        }
        Value::Object(shape)
    }

    /// The complete user, for the control API.
    pub(crate) fn everything(&self) -> Value {
        let Value::Object(mut shape) = self.flat(false) else { return Value::Null };
        shape.insert("user_sid".to_owned(), json!(self.user_sid));
        shape.insert("identity".to_owned(), json!(self.identity()));
        if let Some(worker) = &self.worker {
            shape.insert(
                "worker".to_owned(),
                json!({ "worker_sid": worker.sid, "activity": worker.activity().1, "activity_sid": worker.activity_sid,
                    "attributes": worker.full_attributes(self), "channels": worker.channels }),
            );
        }
        Value::Object(shape)
    }

    fn common(&self) -> Map<String, Value> {
        let shape = json!({
            "account_sid": ACCOUNT_SID, "instance_sid": INSTANCE_SID, "flex_user_sid": self.sid, "username": self.username,
            "email": self.email, "full_name": self.full_name, "roles": self.roles, "locale": self.locale,
            "deactivated": self.deactivated, "deactivated_date": self.deactivated_at.map(clock::rfc3339),
            "created_date": clock::rfc3339(self.created), "updated_date": clock::rfc3339(self.updated),
            "version": self.version,
        });
        match shape {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }
}

fn drop_members(shape: &mut Map<String, Value>, names: &[&str]) {
    for name in names {
        shape.remove(*name);
    }
}
