//! The people who can sign in at the company's identity provider.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Person {
    pub(crate) username: String,
    /// The person's `sub` in tokens. It never changes.
    #[serde(default)]
    pub(crate) sub: String,
    pub(crate) email: String,
    #[serde(default = "yes")]
    pub(crate) email_verified: bool,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) roles: Vec<String>,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
}

fn yes() -> bool {
    true
}

impl Person {
    pub(crate) fn claims(&self) -> Map<String, Value> {
        let (given, family) = self.name.split_once(' ').unwrap_or((self.name.as_str(), ""));
        let claims = json!({
            "sub": self.sub, "preferred_username": self.username, "email": self.email,
            "email_verified": self.email_verified, "name": self.name, "given_name": given, "family_name": family,
            "roles": self.roles, "groups": self.groups,
        });
        match claims {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.roles.iter().any(|role| role == "admin")
    }
}

pub(crate) fn everybody() -> Vec<Person> {
    let person = |number: u8, username: &str, name: &str, role: Option<&str>, groups: &[&str]| Person {
        username: username.to_owned(),
        sub: format!("00u7f1exgate{number:04}"),
        email: format!("{username}@example.com"),
        email_verified: true,
        name: name.to_owned(),
        roles: role.map(str::to_owned).into_iter().collect(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
    };
    vec![
        person(1, "ada", "Ada Lovelace", Some("agent"), &["contact-center", "flex-agents"]),
        person(2, "grace", "Grace Hopper", Some("supervisor"), &["contact-center", "flex-supervisors"]),
        person(3, "linus", "Linus Torvalds", Some("admin"), &["it", "flex-admins"]),
        person(4, "margaret.hamilton", "Margaret Hamilton", Some("agent"), &["contact-center", "flex-agents"]),
        person(5, "nobody", "Nobody Special", None, &["staff"]),
        Person { email_verified: false, ..person(6, "mallory", "Mallory Unverified", Some("agent"), &["contractors"]) },
    ]
}
