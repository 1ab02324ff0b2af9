//! Random patches of a user.

use serde_json::{Map, Value, json};

use super::dice::{Dice, Op};
use super::emails::{self, Impossible, Selects};
use super::user::{FLEX, Model, TEXTS, USER};
use super::{FIRST_SEED, REQUESTS};
use crate::common::{Scim, scim};

/// A request, with what it asks.
struct Asks {
    operations: Vec<Value>,
    model: Model,
    /// Whether no SCIM resource can represent the result of the operations. Flexgate must then refuse the request.
    is_impossible: bool,
    /// The last `active` of the request.
    active: Option<bool>,
}

/// Attributes of RFC 7643 that Flexgate ignores.
const IGNORED: [&str; 6] = [
    "title",
    "nickName",
    "name.middleName",
    "manager",
    "addresses[type eq \"work\"].locality",
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
];

impl Asks {
    fn random(dice: &mut Dice, user: &Value) -> Self {
        let model = Model::shown(user);
        let mut asks = Self { operations: Vec::new(), model, is_impossible: false, active: None };
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
        let op = dice.pick(&[Op::Add, Op::Replace, Op::Replace, Op::Remove]);
        let (path, value) = match dice.below(20) {
            0..=6 => {
                let name = dice.pick(&TEXTS);
                let same = self.model.now(name).filter(|_| dice.percent(25));
                let value = same.unwrap_or_else(|| text(dice, name));
                let asked = self.model.text(name, op, &value);
                self.note(&asked);
                (dice.path(USER, name), value)
            }
            7 | 8 => {
                let value = name(dice);
                let asked = self.model.name(op, &value);
                self.note(&asked);
                (dice.path(USER, "name"), value)
            }
            9..=11 => {
                let value =
                    if op == Op::Remove { dice.pick(&[Value::Null, json!([])]) } else { emails::random_list(dice) };
                let asked = self.model.emails.whole(op, &value);
                self.note(&asked);
                (dice.path(USER, "emails"), value)
            }
            12..=14 => {
                let (selects, sub) = selected(dice, &self.model);
                let value = selected_value(dice, sub);
                let asked = self.model.emails.selected(op, &selects, sub, &value, false);
                self.note(&asked);
                let sub = sub.map(|sub| format!(".{sub}")).unwrap_or_default();
                (format!("{}[{}]{sub}", dice.path(USER, "emails"), selects.filter), value)
            }
            15 => {
                let (name, value) = field(dice);
                let asked = self.model.field(name, op, &value);
                self.note(&asked);
                (format!("{FLEX}:{}", dice.cased(name)), value)
            }
            16 => {
                let value = activity(dice);
                self.activity(op, &value);
                (dice.path(USER, "active"), value)
            }
            17 => (dice.pick(&IGNORED).to_owned(), json!("x")),
            18 => {
                let unknown =
                    ["shoeSize", "name.nick", "emails[type eq \"work\"].colour", "urn:other:User:x", "emails["];
                self.is_impossible = true;
                (dice.pick(&unknown).to_owned(), json!("x"))
            }
            _ => {
                let path = dice.pick(&["id", "groups", "meta.version", "userName"]);
                let value = json!(dice.pick(&["FUZZ@example.com", "other@example.com"]));
                let asked = if path == "userName" { self.model.user_name(op, &value) } else { Err(Impossible) };
                self.note(&asked);
                (path.to_owned(), value)
            }
        };
        // Send a `remove` without a value, unless the value is a list of addresses to remove from `emails`.
        let lists = path.to_ascii_lowercase().ends_with("emails") && !value.is_null();
        let value = (op != Op::Remove || lists).then_some(value);
        dice.operation(op, Some(&path), value)
    }

    /// Returns an operation without a path, for several attributes.
    fn without_path(&mut self, dice: &mut Dice) -> Value {
        let op = dice.pick(&[Op::Add, Op::Replace]);
        if dice.percent(4) {
            self.is_impossible = true;
            let value = dice.pick(&[json!("x"), json!([]), Value::Null]);
            return dice.operation(op, None, Some(value));
        }
        let (mut map, mut kinds) = (Map::new(), vec![0, 1, 2, 3, 4, 5, 6, 7, 8]);
        for _ in 0..=dice.below(3) {
            let kind = kinds.remove(dice.below(kinds.len()));
            let (key, value) = self.key(dice, op, kind);
            map.insert(key, value);
        }
        dice.operation(op, None, Some(map.into()))
    }

    fn key(&mut self, dice: &mut Dice, op: Op, kind: usize) -> (String, Value) {
        let (key, value, asked) = match kind {
            0 | 1 => {
                let name = if kind == 0 { "displayName" } else { dice.pick(&["externalId", "locale"]) };
                let value = text(dice, name);
                let asked = self.model.text(name, op, &value);
                (dice.path(USER, name), value, asked)
            }
            2 if dice.percent(50) => {
                let name = dice.pick(&["name.formatted", "name.givenName", "name.familyName"]);
                let value = text(dice, name);
                let asked = self.model.text(name, op, &value);
                (dice.path(USER, name), value, asked)
            }
            2 => {
                let value = name(dice);
                let asked = self.model.name(op, &value);
                (dice.path(USER, "name"), value, asked)
            }
            3 if dice.percent(50) => {
                let (selects, sub) = selected(dice, &self.model);
                let value = selected_value(dice, sub);
                let asked = self.model.emails.selected(op, &selects, sub, &value, true);
                let sub = sub.map(|sub| format!(".{sub}")).unwrap_or_default();
                (format!("emails[{}]{sub}", selects.filter), value, asked)
            }
            3 => {
                let value = emails::random_list(dice);
                let asked = self.model.emails.whole(op, &value);
                (dice.path(USER, "emails"), value, asked)
            }
            4 if dice.percent(50) => {
                let (name, value) = field(dice);
                let asked = self.model.field(name, op, &value);
                (format!("{FLEX}:{name}"), value, asked)
            }
            4 => {
                let value = fields(dice);
                let asked = self.fields(op, &value);
                (FLEX.to_owned(), value, asked)
            }
            5 if dice.percent(50) => {
                let value = activity(dice);
                self.activity(op, &value);
                ("active".to_owned(), value, Ok(()))
            }
            6 => (dice.pick(&IGNORED).to_owned(), json!("x"), Ok(())),
            7 => (dice.pick(&["id", "schemas", "meta", "groups"]).to_owned(), json!("x"), Ok(())),
            _ => (dice.pick(&["shoeSize", "urn:other:User:x", "name.nick"]).to_owned(), json!("x"), Ok(())),
        };
        self.note(&asked);
        (key, value)
    }

    fn fields(&mut self, op: Op, value: &Value) -> Result<(), Impossible> {
        match value {
            Value::Null => self.model.fields.clear(),
            Value::Object(map) => {
                for name in ["language", "skill_level"].into_iter().filter(|name| map.contains_key(*name)) {
                    self.model.field(name, op, &map[name])?;
                }
            }
            _ => return Err(Impossible),
        }
        Ok(())
    }

    fn activity(&mut self, op: Op, value: &Value) {
        match self.model.activity(op, value) {
            Ok(active) => self.active = Some(active),
            Err(Impossible) => self.is_impossible = true,
        }
    }
}

fn text(dice: &mut Dice, name: &str) -> Value {
    match dice.below(20) {
        0 => dice.no_text(),
        1 | 2 => Value::Null,
        3 if name == "locale" => "no tag".into(),
        3 => "".into(),
        _ if name == "locale" => dice.pick(&["en-US", "de-DE", "fr"]).into(),
        _ => format!("{} {}", dice.pick(&["Ada", "Grace"]), dice.below(2)).into(),
    }
}

fn name(dice: &mut Dice) -> Value {
    if dice.percent(10) {
        return dice.pick(&[Value::Null, json!("Ada"), json!(7), json!({}), json!({ "givenName": 7 }), json!(["Ada"])]);
    }
    let mut name = Map::new();
    for part in ["formatted", "givenName", "familyName"] {
        if dice.percent(50) {
            name.insert(part.to_owned(), text(dice, part));
        }
    }
    if dice.percent(20) {
        name.insert("middleName".to_owned(), "K.".into());
    }
    name.into()
}

fn field(dice: &mut Dice) -> (&'static str, Value) {
    if dice.percent(50) {
        ("language", dice.pick(&[json!("en"), json!("de"), Value::Null, json!(7), json!(["en"])]))
    } else {
        ("skill_level", dice.pick(&[json!(3), json!("7"), Value::Null, json!("high"), json!(1.5), json!(true)]))
    }
}

fn fields(dice: &mut Dice) -> Value {
    if dice.percent(20) {
        return dice.pick(&[Value::Null, json!("x"), json!(["x"])]);
    }
    let mut map = Map::new();
    for _ in 0..=dice.below(2) {
        let (name, value) = field(dice);
        map.insert(name.to_owned(), value);
    }
    if dice.percent(10) {
        map.insert("shoe_size".to_owned(), json!(9));
    }
    map.into()
}

fn activity(dice: &mut Dice) -> Value {
    let values = [
        json!(true),
        json!(true),
        json!("True"),
        json!("true"),
        json!(false),
        json!("False"),
        json!("no"),
        Value::Null,
    ];
    dice.pick(&values)
}

fn selected(dice: &mut Dice, model: &Model) -> (Selects, Option<&'static str>) {
    let sub = dice.pick(&[None, Some("value"), Some("value"), Some("primary"), Some("type")]);
    (Selects::random(dice, &model.emails), sub)
}

fn selected_value(dice: &mut Dice, sub: Option<&str>) -> Value {
    let value = format!("s{}@work.example", dice.below(4));
    match sub {
        _ if dice.percent(5) => Value::Null,
        _ if dice.percent(5) => json!(7),
        Some("value") => value.into(),
        Some("type") => dice.pick(&["work", "home"]).into(),
        Some(_) => dice.pick(&[json!(true), json!("True"), json!(false)]),
        None => {
            let kind = dice.pick(&[json!("work"), json!("home"), Value::Null]);
            dice.pick(&[json!({ "value": value, "type": kind }), json!({ "type": kind }), json!({ "value": value })])
        }
    }
}

async fn seen(scim: &Scim, id: &str) -> (Value, Value) {
    let user = scim.get(&format!("/Users/{id}")).await.is(200);
    (user, scim.world.twilio_user_of(id).await.unwrap())
}

fn without_meta(user: &Value) -> Value {
    let mut user = user.clone();
    user.as_object_mut().unwrap().remove("meta");
    user
}

async fn new_user(scim: &Scim, number: u64) -> String {
    let user_name = if number == 0 { "fuzz@example.com".to_owned() } else { format!("fuzz{number}@example.com") };
    let body = json!({
        "userName": user_name, "displayName": "Ada Lovelace", "externalId": format!("x-{number}"),
        "name": { "formatted": "Ada Lovelace", "givenName": "Ada", "familyName": "Lovelace" },
        "emails": [{ "value": format!("ada{number}@work.example"), "type": "work", "primary": true }],
    });
    scim.send("POST", "/Users", body).await.is(201)["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_patched_user_shows_what_was_asked_or_is_as_before() {
    let scim = scim().await;
    let (mut id, mut accepted) = (String::new(), 0);
    for number in 0..REQUESTS {
        if number % 50 == 0 {
            id = new_user(&scim, number).await;
        }
        let seed = FIRST_SEED + number;
        let (user, twilio) = seen(&scim, &id).await;
        let asks = Asks::random(&mut Dice::new(seed), &user);
        let answer = scim.patch(&format!("/Users/{id}"), json!(asks.operations)).await;
        let (user_after, twilio_after) = seen(&scim, &id).await;
        let wrong = match answer.status.as_u16() {
            200 if asks.is_impossible => vec!["no resource can show what was asked".to_owned()],
            400..=499 if !asks.is_impossible => vec!["what can be done was refused".to_owned()],
            200 => {
                accepted += 1;
                let mut wrong = asks.model.differences(&user_after);
                wrong.extend(Model::differences_at_flex(&user_after, &twilio_after));
                wrong
            }
            400..=499 if asks.active == Some(false) => {
                let mut expected = without_meta(&user);
                expected["active"] = false.into();
                let says_so = answer.text.contains("The user was deactivated.");
                let is_so = without_meta(&user_after) == expected && twilio_after["deactivated"] == true;
                if says_so && is_so { vec![] } else { vec![format!("more than active changed, from {user}")] }
            }
            400..=499 if (&user, &twilio) == (&user_after, &twilio_after) => vec![],
            400..=499 => vec![format!("a refused request changed {user} and {twilio}")],
            status => vec![format!("the status is {status}")],
        };
        let operations = json!(asks.operations);
        assert!(
            wrong.is_empty(),
            "seed {seed}: {wrong:?}\noperations: {operations}\nbefore: {user}\nanswer: {}\nafter: {user_after}\nTwilio: {twilio_after}",
            answer.text
        );
    }
    assert!(accepted * 3 > REQUESTS, "only {accepted} of {REQUESTS} requests were accepted");
}
