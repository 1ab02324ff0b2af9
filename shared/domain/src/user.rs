//! Flex users: as Twilio reports them, and as Flexgate wants them to be.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::name::{Email, FullName, Username};
use super::role::{ObservedRoles, RoleSet};
use super::sid::{FlexUserSid, WorkerSid};

/// A Flex user as Twilio reports it. A field is `None` only if Twilio did not send it. An empty field is not `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlexUser {
    /// The user's SID, `FU…`.
    pub flex_user_sid: FlexUserSid,
    /// The username, which identifies the user in Flex.
    pub username: Username,
    /// The e-mail address.
    pub email: Option<String>,
    /// The full name.
    pub full_name: Option<String>,
    /// The roles.
    pub roles: Option<ObservedRoles>,
    /// The locale, like `en-us`.
    pub locale: Option<String>,
    /// Whether the user has been deprovisioned. See [`FlexUser::is_deactivated`] and [`FlexUser::is_active`].
    pub deactivated: Option<bool>,
    /// The SID of the `TaskRouter` worker. A deprovisioned user has no worker.
    pub worker_sid: Option<WorkerSid>,
    /// When the user was created, in RFC 3339 format.
    pub created_date: Option<String>,
    /// When the user last changed, in RFC 3339 format.
    pub updated_date: Option<String>,
    /// Twilio's count of changes to the user.
    pub version: Option<u64>,
}

impl FlexUser {
    /// Whether Twilio reports that the user is deprovisioned.
    #[must_use]
    pub fn is_deactivated(&self) -> bool {
        self.deactivated == Some(true)
    }

    /// Whether Twilio's answer shows that the user is active. Without the field `deactivated`, a user with a worker
    /// is active, because a deprovisioned user has no worker.
    ///
    /// This function and [`FlexUser::is_deactivated`] both return false if the answer contains neither field.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.deactivated.map_or(self.worker_sid.is_some(), |deactivated| !deactivated)
    }

    /// Whether all fields that [`FlexUser::difference`] and a mint need are present. Users in search results often
    /// lack some.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.email.is_some() && self.full_name.is_some() && self.roles.is_some() && self.deactivated.is_some()
    }

    /// Compares the user with `desired`. Returns the parts that Flexgate must change at Twilio, or `None` if there is
    /// nothing to change. Flex does not return worker attributes, so any attributes in `desired` count as different.
    #[must_use]
    pub fn difference(&self, desired: &DesiredUser) -> Option<UserDifference> {
        let roles = self.roles.as_ref();
        let difference = UserDifference {
            email: self.email.as_deref() != Some(desired.email.as_str()),
            full_name: self.full_name.as_deref() != Some(desired.full_name.as_str()),
            roles: roles.is_none_or(|roles| roles.exceed(&desired.roles) || roles.known() != &desired.roles),
            reactivate: self.deactivated != Some(false),
            worker: desired.worker_attributes.is_some(),
        };
        difference.any().then_some(difference)
    }
}

/// A Flex user as Flexgate wants it to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredUser {
    /// The username, which identifies the user in Flex.
    pub username: Username,
    /// The e-mail address.
    pub email: Email,
    /// The full name.
    pub full_name: FullName,
    /// The roles, at least one.
    pub roles: RoleSet,
    /// The worker's attributes. `None` leaves the attributes in Flex unchanged.
    pub worker_attributes: Option<WorkerAttributes>,
}

/// The parts of a Flex user that differ from a [`DesiredUser`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one flag for each part that can differ")]
pub struct UserDifference {
    /// The e-mail address.
    pub email: bool,
    /// The full name.
    pub full_name: bool,
    /// The roles.
    pub roles: bool,
    /// Twilio does not report that the user is active, so provisioning must reactivate the user.
    pub reactivate: bool,
    /// The worker's attributes.
    pub worker: bool,
}

impl UserDifference {
    fn any(self) -> bool {
        self.email || self.full_name || self.roles || self.reactivate || self.worker
    }
}

/// The attributes of a worker: a JSON object. Flex requires each key to end with the type of its value, as in
/// `language.string` and `channel.voice.capacity`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct WorkerAttributes(Map<String, Value>);

/// This order is arbitrary but fixed. If a source states two different values with the same `Moment`, this order
/// decides which value wins.
impl Ord for WorkerAttributes {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let text = |attributes: &Self| Value::Object(attributes.0.clone()).to_string();
        text(self).cmp(&text(other))
    }
}

impl PartialOrd for WorkerAttributes {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl WorkerAttributes {
    /// Returns the attributes to send to Flex if the attributes `sent` were sent earlier. Flex never removes an
    /// attribute, so an attribute that is only in `sent` is sent again with an empty value.
    #[must_use]
    pub fn replacing(&self, sent: &Self) -> Self {
        let mut all = self.0.clone();
        for key in sent.0.keys().filter(|key| !self.0.contains_key(*key)) {
            let empty = match key.rsplit_once('.').map(|(_, kind)| kind) {
                Some("int" | "capacity") => Value::from(0),
                Some("boolean" | "availability") => Value::from(false),
                _ => Value::from(""),
            };
            all.insert(key.clone(), empty);
        }
        Self(all)
    }
}

/// Why an object cannot be a worker's attributes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkerAttributesError {
    /// The object has too many entries or bytes.
    #[error("must have at most 64 entries and 4096 bytes")]
    Size,
    /// The value of an attribute is an object, an array or null.
    #[error("must hold strings, numbers and booleans only")]
    Nested,
    /// The object contains an attribute that Flex sets itself.
    #[error("must not set contact_uri, which Flex sets itself")]
    Reserved,
}

impl TryFrom<Map<String, Value>> for WorkerAttributes {
    type Error = WorkerAttributesError;

    fn try_from(map: Map<String, Value>) -> Result<Self, WorkerAttributesError> {
        let size: usize = map.iter().map(|(key, value)| key.len() + value.as_str().map_or(8, str::len)).sum();
        if map.len() > 64 || size > 4096 {
            return Err(WorkerAttributesError::Size);
        }
        if map.values().any(|value| value.is_object() || value.is_array() || value.is_null()) {
            return Err(WorkerAttributesError::Nested);
        }
        // A request that sets contact_uri could redirect somebody else's calls to this worker.
        if map.keys().any(|key| key.split('.').next() == Some("contact_uri")) {
            return Err(WorkerAttributesError::Reserved);
        }
        Ok(Self(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Role;

    fn desired() -> DesiredUser {
        DesiredUser {
            username: "ada".parse().unwrap(),
            email: "ada@example.com".parse().unwrap(),
            full_name: "Ada Lovelace".parse().unwrap(),
            roles: [Role::Agent].into(),
            worker_attributes: None,
        }
    }

    fn existing() -> FlexUser {
        FlexUser {
            flex_user_sid: format!("FU{}", "0".repeat(32)).parse().unwrap(),
            username: "ada".parse().unwrap(),
            email: Some("ada@example.com".into()),
            full_name: Some("Ada Lovelace".into()),
            roles: Some(ObservedRoles::from_iter(["agent"])),
            locale: None,
            deactivated: Some(false),
            worker_sid: None,
            created_date: None,
            updated_date: None,
            version: Some(1),
        }
    }

    #[test]
    fn nothing_differs_when_everything_is_as_desired() {
        assert_eq!(existing().difference(&desired()), None);
    }

    #[test]
    fn a_user_is_complete_only_with_every_field_that_a_mint_needs() {
        assert!(existing().is_complete());
        for incomplete in [
            FlexUser { email: None, ..existing() },
            FlexUser { full_name: None, ..existing() },
            FlexUser { roles: None, ..existing() },
            FlexUser { deactivated: None, ..existing() },
        ] {
            assert!(!incomplete.is_complete(), "{incomplete:?}");
        }
    }

    #[test]
    fn one_part_that_differs_is_enough() {
        let attributes = Some(WorkerAttributes::default());
        let cases = [
            (FlexUser { email: Some("old@example.com".into()), ..existing() }, desired()),
            (FlexUser { full_name: Some("A. Byron".into()), ..existing() }, desired()),
            (FlexUser { roles: Some(ObservedRoles::from_iter(["supervisor"])), ..existing() }, desired()),
            (FlexUser { roles: None, ..existing() }, desired()),
            (FlexUser { deactivated: None, ..existing() }, desired()),
            (existing(), DesiredUser { worker_attributes: attributes, ..desired() }),
            (existing(), DesiredUser { roles: [Role::Agent, Role::Supervisor].into(), ..desired() }),
        ];
        for (user, desired) in cases {
            let difference = user.difference(&desired).unwrap();
            let UserDifference { email, full_name, roles, reactivate, worker } = difference;
            let different = [email, full_name, roles, reactivate, worker].into_iter().filter(|&one| one).count();
            assert_eq!(different, 1, "{user:?}");
        }
    }

    #[test]
    fn each_part_that_differs_is_named() {
        let mut user = existing();
        user.roles = Some(ObservedRoles::from_iter(["agent", "wfo.full_access"]));
        user.deactivated = Some(true);
        let difference = user.difference(&desired()).unwrap();
        assert!(difference.roles && difference.reactivate && !difference.email);
    }

    #[test]
    fn what_twilio_left_out_counts_as_different() {
        let mut user = existing();
        user.full_name = None;
        assert!(!user.is_complete());
        assert!(user.difference(&desired()).unwrap().full_name);
    }

    #[test]
    fn attributes_are_flat_small_and_never_redirect_calls() {
        let parse = |value: Value| WorkerAttributes::try_from(value.as_object().unwrap().clone());
        assert!(parse(json!({"language.string": "en", "channel.voice.capacity": 1})).is_ok());
        assert_eq!(parse(json!({"a": {"b": 1}})), Err(WorkerAttributesError::Nested));
        assert_eq!(parse(json!({"contact_uri.string": "client:eve"})), Err(WorkerAttributesError::Reserved));
        for value in [json!([1]), json!(null)] {
            assert_eq!(parse(json!({ "a": value })), Err(WorkerAttributesError::Nested));
        }
        // The keys count towards the size of the attributes, and each number counts as eight bytes.
        assert!(parse(json!({"abcd": "x".repeat(4092)})).is_ok());
        assert_eq!(parse(json!({"abcde": "x".repeat(4092)})), Err(WorkerAttributesError::Size));
        assert!(parse(json!({"a".repeat(4088): 1})).is_ok());
        assert_eq!(parse(json!({"a".repeat(4089): 1})), Err(WorkerAttributesError::Size));
        let many = |count: usize| (0..count).map(|n| (format!("k{n}"), Value::from(n))).collect::<Map<_, _>>();
        assert!(WorkerAttributes::try_from(many(64)).is_ok());
        assert_eq!(WorkerAttributes::try_from(many(65)), Err(WorkerAttributesError::Size));
    }

    #[test]
    fn an_attribute_that_is_gone_is_emptied_by_its_type() {
        let parse = |value: Value| WorkerAttributes::try_from(value.as_object().unwrap().clone()).unwrap();
        let sent = parse(json!({
            "language.string": "en", "level.int": 3, "channel.voice.capacity": 1, "lead.boolean": true,
            "channel.chat.availability": true, "nickname": "Ada", "kept.string": "old",
        }));
        let wanted = parse(json!({"kept.string": "new", "added.int": 1}));
        let expected = json!({
            "language.string": "", "level.int": 0, "channel.voice.capacity": 0, "lead.boolean": false,
            "channel.chat.availability": false, "nickname": "", "kept.string": "new", "added.int": 1,
        });
        assert_eq!(serde_json::to_value(wanted.replacing(&sent)).unwrap(), expected);
    }

    #[test]
    fn attributes_have_an_order_so_that_one_of_two_wins() {
        let parse = |value: Value| WorkerAttributes::try_from(value.as_object().unwrap().clone()).unwrap();
        let (en, fr) = (parse(json!({"language.string": "en"})), parse(json!({"language.string": "fr"})));
        assert_eq!(en.clone().max(fr.clone()), fr);
        assert_eq!(fr.clone().max(en.clone()), fr);
        assert_eq!(en.partial_cmp(&en), Some(std::cmp::Ordering::Equal));
    }
}
