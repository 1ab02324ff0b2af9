//! The users that `flexgate verify` has created. The command changes no other users. Before it ends, it deactivates the
//! users that it has created.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flexgate::domain::FlexUserSid;
use serde_json::{Value, json};

use super::wire::{Seen, Silence, Wire};
use crate::audit::Trail;

/// The maximum number of attempts to deactivate a user. The pauses between them last 16 s in total.
const TRIES: u32 = 7;
/// The number of searches after the answer to a provisioning request was lost. If none of these searches finds an
/// active user, the clean-up assumes that Twilio created no user.
const SEARCHES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The users that may be active.
pub struct Made {
    trail: Trail,
    users: Mutex<Vec<User>>,
}

#[derive(Clone)]
struct User {
    username: String,
    /// The SIDs of the users that Twilio created with this username and that may still be active.
    sids: Vec<String>,
    /// Whether Twilio may have created a user whose SID is unknown, because Twilio's answer was lost.
    is_uncertain: bool,
}

impl Made {
    pub fn new(trail: Trail) -> Self {
        Self { trail, users: Mutex::default() }
    }

    /// Returns the usernames of users that may still be active.
    pub fn left(&self) -> Vec<String> {
        self.users().iter().map(|user| user.username.clone()).collect()
    }

    /// Creates or updates one of verify's users. Records the username before the request, so that the clean-up finds
    /// the user even if the answer is lost.
    pub async fn make(&self, wire: &Wire, username: &str, full_name: &str) -> Result<Seen, Silence> {
        self.change(username, |user| user.is_uncertain = true);
        let body = json!({
            "username": username, "email": format!("{username}@example.com"), "full_name": full_name,
            "roles": ["agent"], "worker": {},
        });
        let answer = wire.post(wire.users("v4", &["Provision"]), &body).await;
        match &answer {
            Ok(seen) if seen.is_success() => {
                // If the answer does not contain the SID of this user, the clean-up searches for the username.
                if let Some(sid) = seen.sid_of(username) {
                    self.note("provision", sid);
                    self.change(username, |user| {
                        user.is_uncertain = false;
                        user.sids.retain(|known| known != sid);
                        user.sids.push(sid.to_owned());
                    });
                }
            }
            Ok(_) | Err(Silence::Stopped | Silence::NotSent | Silence::Busy | Silence::Credential(_)) => {
                self.change(username, |user| user.is_uncertain = false);
            }
            Err(_) => {}
        }
        answer
    }

    /// Deactivates one of these users.
    pub async fn deactivate(&self, wire: &Wire, sid: &str) -> Result<Seen, Silence> {
        let answer = wire.post(wire.users("v4", &["Deprovision"]), &json!({ "flex_user_sid": sid })).await?;
        if answer.is_success() {
            self.note("deprovision", sid);
            self.users().iter_mut().for_each(|user| user.sids.retain(|known| known != sid));
        }
        Ok(answer)
    }

    /// Deactivates every user that may be active. Returns the usernames of those that it could not deactivate.
    pub async fn clean_up(&self, wire: &Wire) -> Vec<String> {
        for username in self.left() {
            if self.ended(wire, &username).await {
                self.users().retain(|user| user.username != username);
            }
        }
        self.left()
    }

    async fn ended(&self, wire: &Wire, username: &str) -> bool {
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(attempt - 1)).await;
            }
            let user = self.users().iter().find(|user| user.username == username).cloned();
            let Some(user) = user else { return true };
            let was_active = self.try_to_end(wire, &user).await;
            if was_active.is_ok_and(|was_active| was_active || !user.is_uncertain || attempt + 1 >= SEARCHES) {
                return true;
            }
        }
        false
    }

    /// Deactivates the Flex users with this username: those with a known SID, and those that a search finds. Returns
    /// whether one of them was active.
    async fn try_to_end(&self, wire: &Wire, user: &User) -> Result<bool, Silence> {
        let mut sids = user.sids.clone();
        // If the answer to a provisioning request was lost, only a search can find the SID.
        let search = wire.find(&user.username).await;
        let search = search.and_then(|seen| seen.found().map(<[Value]>::to_vec).ok_or(Silence::Garbage(seen.status)));
        let found = search.as_deref().unwrap_or_default();
        let own = found.iter().filter(|found| found["username"] == user.username.as_str());
        sids.extend(own.filter_map(|found| found["flex_user_sid"].as_str().map(str::to_owned)));
        sids.dedup();
        let mut was_active = false;
        for sid in &sids {
            let shown = wire.get(wire.users("v4", &[sid])).await?;
            if shown.status == 404 || shown.body["deactivated"] == Value::Bool(true) {
                continue;
            }
            let answer = self.deactivate(wire, sid).await?;
            if !answer.is_success() {
                return Err(Silence::Garbage(answer.status));
            }
            was_active = true;
        }
        search.map(|_| was_active)
    }

    fn change(&self, username: &str, change: impl FnOnce(&mut User)) {
        let mut users = self.users();
        if let Some(user) = users.iter_mut().find(|user| user.username == username) {
            return change(user);
        }
        let mut user = User { username: username.to_owned(), sids: Vec::new(), is_uncertain: false };
        change(&mut user);
        users.push(user);
    }

    fn note(&self, action: &str, sid: &str) {
        self.trail.allowed(action, sid.parse::<FlexUserSid>().ok().as_ref(), "flexgate verify");
    }

    fn users(&self) -> MutexGuard<'_, Vec<User>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
