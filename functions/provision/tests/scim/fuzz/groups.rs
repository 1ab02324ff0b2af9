//! Random patches of a group.

use serde_json::{Map, Value, json};

use super::dice::{Dice, Op};
use super::emails::Impossible;
use super::group::Model;
use super::{FIRST_SEED, REQUESTS};
use crate::common::{Scim, scim};

const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// A request, with what it asks.
struct Asks<'a> {
    operations: Vec<Value>,
    model: Model,
    is_impossible: bool,
    users: &'a [String],
}

impl<'a> Asks<'a> {
    fn random(dice: &mut Dice, group: &Value, users: &'a [String]) -> Self {
        let mut asks = Self { operations: Vec::new(), model: Model::shown(group), is_impossible: false, users };
        for _ in 0..=dice.below(4) {
            let operation = match dice.below(100) {
                0 | 1 => {
                    asks.is_impossible = true;
                    dice.malformed()
                }
                2..=30 => asks.without_path(dice),
                _ => asks.with_path(dice),
            };
            asks.operations.push(operation);
        }
        asks.is_impossible |= !asks.model.is_possible();
        asks
    }

    fn note(&mut self, asked: &Result<(), Impossible>) {
        self.is_impossible |= asked.is_err();
    }

    fn with_path(&mut self, dice: &mut Dice) -> Value {
        let op = dice.pick(&[Op::Add, Op::Add, Op::Replace, Op::Remove]);
        match dice.below(12) {
            0 | 1 => {
                let value = name(dice);
                let asked = self.model.display_name(op, &value);
                self.note(&asked);
                dice.operation_at(op, GROUP, "displayName", value)
            }
            2 => {
                let value = dice.pick(&[json!("g-1"), json!("g-2"), Value::Null, json!(7)]);
                let asked = self.model.external_id(op, &value);
                self.note(&asked);
                dice.operation_at(op, GROUP, "externalId", value)
            }
            3..=6 => {
                let value = self.listed(dice);
                let asked = self.model.members(op, &value);
                self.note(&asked);
                let (path, value) =
                    (dice.path(GROUP, "members"), (!value.is_null() || op != Op::Remove).then_some(value));
                dice.operation(op, Some(&path), value)
            }
            7..=9 => self.named(dice, op),
            10 => {
                let ignored = dice.pick(&["members.display", "manager", "members.type"]);
                dice.operation(op, Some(ignored), (op != Op::Remove).then(|| json!("x")))
            }
            _ => {
                let filters = ["members[value pr]", "members[value ne \"x\"]", "owner", "id", "members["];
                self.is_impossible = true;
                let path = dice.pick(&filters);
                dice.operation(op, Some(path), (op != Op::Remove).then(|| json!({ "value": self.users[0] })))
            }
        }
    }

    /// Returns an operation with a filter for one or two members.
    fn named(&mut self, dice: &mut Dice, op: Op) -> Value {
        let names: Vec<String> = (0..=dice.below(2)).map(|_| dice.pick(self.users)).collect();
        let filter: Vec<String> = names.iter().map(|name| format!("{} eq \"{name}\"", dice.cased("value"))).collect();
        let by = dice.pick(self.users);
        let asked = self.model.named(op, &names, Some(&by), false);
        self.note(&asked);
        let path = format!("{}[{}]", dice.path(GROUP, "members"), filter.join(" or "));
        match dice.below(2) {
            _ if op == Op::Remove => dice.operation(op, Some(&path), None),
            0 => dice.operation(op, Some(&path), Some(json!({ "value": by }))),
            _ => dice.operation(op, Some(&format!("{path}.value")), Some(json!(by))),
        }
    }

    /// Returns an operation without a path, for several attributes.
    fn without_path(&mut self, dice: &mut Dice) -> Value {
        let op = dice.pick(&[Op::Add, Op::Replace]);
        let mut map = Map::new();
        if dice.percent(40) {
            let value = name(dice);
            let asked = self.model.display_name(op, &value);
            self.note(&asked);
            map.insert(dice.path(GROUP, "displayName"), value);
        }
        if dice.percent(30) {
            let value = dice.pick(&[json!("g-3"), json!("g-4"), Value::Null]);
            let asked = self.model.external_id(op, &value);
            self.note(&asked);
            map.insert("externalId".to_owned(), value);
        }
        if dice.percent(50) {
            let value = self.listed(dice);
            let asked = self.model.members(op, &value);
            self.note(&asked);
            map.insert(dice.cased("members"), value);
        }
        if dice.percent(40) {
            map.insert(dice.pick(&["id", "schemas", "meta", "shoeSize"]).to_owned(), json!("x"));
        }
        dice.operation(op, None, Some(map.into()))
    }

    /// Returns a list of members. Sometimes the list is empty or invalid.
    fn listed(&self, dice: &mut Dice) -> Value {
        let one = |dice: &mut Dice| {
            let id = dice.pick(self.users);
            match dice.below(12) {
                0 => {
                    dice.pick(&[json!({}), Value::Null, json!({ "value": null }), json!(7), json!("nobody"), json!([])])
                }
                1 => json!(id),
                2 => json!({ "value": id, "display": "x", "type": "User", "$ref": null }),
                _ => json!({ "value": id }),
            }
        };
        match dice.below(10) {
            0 => one(dice),
            1 => json!([]),
            2 => Value::Null,
            _ => (0..=dice.below(3)).map(|_| one(dice)).collect(),
        }
    }
}

impl Dice {
    fn operation_at(&mut self, op: Op, schema: &str, name: &str, value: Value) -> Value {
        let path = self.path(schema, name);
        self.operation(op, Some(&path), (op != Op::Remove).then_some(value))
    }
}

fn name(dice: &mut Dice) -> Value {
    let names = ["Flex Supervisors", "flex supervisors", "Team A", "Team B", "Team C"];
    let wrong = [json!(""), json!(" "), json!("Taken"), json!("TAKEN"), json!(7), Value::Null, json!(["x"])];
    if dice.percent(20) { dice.pick(&wrong) } else { dice.pick(&names).into() }
}

async fn seen(scim: &Scim, path: &str, users: &[String]) -> (Value, Vec<Value>) {
    let group = scim.get(path).await.is(200);
    let mut at_twilio = Vec::new();
    for user in users {
        at_twilio.push(scim.world.twilio_user_of(user).await.unwrap());
    }
    (group, at_twilio)
}

#[tokio::test]
async fn a_patched_group_shows_what_was_asked_or_is_as_before() {
    let scim = scim().await;
    let users = [scim.user("ada").await, scim.user("grace").await, scim.user("linus").await];
    scim.send("POST", "/Groups", json!({ "displayName": "Taken" })).await.is(201);
    let group = scim.send("POST", "/Groups", json!({ "displayName": "Flex Supervisors" })).await.is(201);
    let path = format!("/Groups/{}", group["id"].as_str().unwrap());
    let mut accepted = 0;
    for number in 0..REQUESTS {
        let seed = FIRST_SEED + number;
        let (group, at_twilio) = seen(&scim, &path, &users).await;
        let asks = Asks::random(&mut Dice::new(seed), &group, &users);
        let answer = scim.patch(&path, json!(asks.operations)).await;
        let (group_after, at_twilio_after) = seen(&scim, &path, &users).await;
        let wrong = match answer.status.as_u16() {
            200 if asks.is_impossible => vec!["no resource can show what was asked".to_owned()],
            400..=499 if !asks.is_impossible => vec!["what can be done was refused".to_owned()],
            200 => {
                accepted += 1;
                differences(&asks.model, &group_after, &users, &at_twilio_after)
            }
            400..=499 if (&group, &at_twilio) == (&group_after, &at_twilio_after) => vec![],
            400..=499 => vec![format!("a refused request changed {at_twilio:?}")],
            status => vec![format!("the status is {status}")],
        };
        let operations = json!(asks.operations);
        assert!(
            wrong.is_empty(),
            "seed {seed}: {wrong:?}\noperations: {operations}\nbefore: {group}\nanswer: {}\nafter: {group_after}",
            answer.text
        );
    }
    assert!(accepted * 3 > REQUESTS, "only {accepted} of {REQUESTS} requests were accepted");
}

/// Returns all differences between the model and the group, and between the group and the roles in Flex.
fn differences(asked: &Model, group: &Value, users: &[String], at_twilio: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    let shown = Model::shown(group);
    if shown != *asked {
        wrong.push(format!("shown is {shown:?}, asked was {asked:?}"));
    }
    let gives_a_role = shown.display_name.eq_ignore_ascii_case("Flex Supervisors");
    for (user, twilio) in users.iter().zip(at_twilio) {
        let is_supervisor = twilio["roles"].as_array().unwrap().contains(&json!("supervisor"));
        if is_supervisor != (gives_a_role && shown.members.contains(user)) {
            wrong.push(format!("{user} has the roles {}", twilio["roles"]));
        }
    }
    wrong
}
