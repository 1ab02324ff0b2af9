//! Tests filters, paths and patches in isolation: their limits, and rules that the tests of whole requests rarely
//! reach.

use flexgate::domain::Role;
use flexgate_provision::protocol::{
    Cursor, Document, ENTERPRISE, MAX_FILTER, Paging, Plan, Projection, ProtocolError, Schema, Test, apply, operations,
};
use flexgate_provision::{WorkerFields, user_schema};
use serde_json::{Value, json};
use time::macros::datetime;

const FLEX: &str = "urn:flexgate:params:scim:schemas:extension:flex:2.0:User";

fn schema() -> Schema {
    user_schema(&"level.int".parse::<WorkerFields>().unwrap(), &[Role::Agent, Role::Supervisor].into())
}

fn document(value: &Value) -> Document {
    value.as_object().unwrap().clone()
}

fn patched(before: &Value, operation: &Value) -> Result<Value, ProtocolError> {
    let body = document(&json!({ "Operations": [operation] }));
    apply(&schema(), &document(before), &operations(&body)?).map(Value::Object)
}

fn matches(filter: &str, user: &Value) -> bool {
    Test::read(filter).unwrap().matches(&schema(), &document(user))
}

fn emails(count: usize) -> Value {
    (0..count).map(|number| json!({ "value": format!("{number}@example.com") })).collect()
}

#[test]
fn a_filter_may_be_as_long_as_its_limit_and_no_longer() {
    let filter = |length: usize| format!("id eq \"{}\"", "x".repeat(length - "id eq \"\"".len()));
    assert!(Test::read(&filter(MAX_FILTER)).is_ok());
    assert!(matches!(Test::read(&filter(MAX_FILTER + 1)), Err(ProtocolError::InvalidFilter(_))));
}

#[test]
fn a_filter_may_have_1024_terms_and_64_levels() {
    for (terms, is_fine) in [(1_024, true), (1_025, false), (1_026, false)] {
        assert_eq!(Test::read(&vec!["a pr"; terms].join(" or ")).is_ok(), is_fine, "{terms} terms");
    }
    for (depth, is_fine) in [(64, true), (65, false), (66, false)] {
        let filter = format!("{}a pr{}", "(".repeat(depth), ")".repeat(depth));
        assert_eq!(Test::read(&filter).is_ok(), is_fine, "{depth} levels");
    }
}

#[test]
fn only_a_value_is_present() {
    for (value, is_present) in [
        (json!(null), false),
        (json!(""), false),
        (json!([]), false),
        (json!({}), false),
        (json!([{}]), false),
        (json!("x"), true),
        (json!({ "formatted": "x" }), true),
        (json!([{ "value": "x" }]), true),
        (json!(false), true),
    ] {
        assert_eq!(matches("name pr", &json!({ "name": value })), is_present, "{value}");
    }
    assert!(!matches("name pr", &json!({})));
}

#[test]
fn an_id_counts_with_its_case_and_a_name_without() {
    let user = json!({ "id": "FUa", "externalId": "X1", "userName": "Ada" });
    assert!(matches("id eq \"FUa\"", &user) && !matches("id eq \"fua\"", &user));
    assert!(matches("userName eq \"ada\"", &user));
}

#[test]
fn a_filter_for_one_attribute_is_answered_by_its_index() {
    let plan = |filter: &str| Test::read(filter).unwrap().plan();
    assert!(matches!(plan("displayName eq \"Leads\""), Plan::DisplayName(name) if name == "Leads"));
    assert!(matches!(plan("active eq true and userName eq \"ada\""), Plan::UserName(name) if name == "ada"));
    assert!(matches!(plan("externalId eq \"1\""), Plan::ExternalId(id) if id == "1"));
    assert!(matches!(plan("displayName sw \"L\""), Plan::Everything));
}

#[test]
fn a_cursor_that_is_too_long_is_none() {
    let now = datetime!(2026-01-01 09:00 UTC);
    for (length, is_fine) in [(100, true), (1_600, false), (3_000, false)] {
        let text = Cursor::new("x".repeat(length), 0, now).to_string();
        assert_eq!(Paging::read(None, None, Some(&text), now).is_ok(), is_fine, "{length}");
    }
}

#[test]
fn a_list_may_have_100_values() {
    let replace = |count| patched(&json!({}), &json!({ "op": "replace", "path": "emails", "value": emails(count) }));
    assert_eq!(replace(100).unwrap()["emails"].as_array().unwrap().len(), 100);
    assert!(matches!(replace(101), Err(ProtocolError::InvalidValue(_))));
}

#[test]
fn a_changed_list_has_each_value_once_and_an_unchanged_one_stays() {
    let one = json!({ "value": "a@example.com" });
    let twice = json!([one, one]);
    let replaced = patched(&json!({}), &json!({ "op": "replace", "path": "emails", "value": twice }));
    assert_eq!(replaced.unwrap()["emails"], json!([one]));
    let other = patched(&json!({ "emails": twice }), &json!({ "op": "replace", "path": "locale", "value": "de" }));
    assert_eq!(other.unwrap()["emails"], twice, "it is none of this patch's business");
}

#[test]
fn the_newest_primary_value_is_the_only_one() {
    let old = json!({ "value": "old@example.com", "primary": true });
    let add = |value: Value| json!({ "op": "add", "path": "emails", "value": value });
    let one = patched(&json!({ "emails": [old] }), &add(json!([{ "value": "new@example.com", "primary": true }])));
    let expected =
        json!([{ "value": "old@example.com", "primary": false }, { "value": "new@example.com", "primary": true }]);
    assert_eq!(one.unwrap()["emails"], expected);
    let none = patched(&json!({ "emails": [old] }), &add(json!([{ "value": "new@example.com" }])));
    assert_eq!(none.unwrap()["emails"][0], old, "a single one keeps the flag");
}

#[test]
fn a_path_may_name_what_flexgate_does_not_keep_and_nothing_unknown() {
    let before = json!({ "name": { "formatted": "Ada" } });
    let replace = |path: &str| patched(&before, &json!({ "op": "replace", "path": path, "value": "x" }));
    for ignored in ["name.middleName", "title", ENTERPRISE, &format!("{ENTERPRISE}:department"), "emails.display"] {
        assert_eq!(replace(ignored).unwrap(), before, "{ignored}");
    }
    for unknown in ["name.nickName", "unheardOf", "urn:example:other:1.0:User:userName", "locale[value eq \"x\"]"] {
        assert!(matches!(replace(unknown), Err(ProtocolError::InvalidPath(_))), "{unknown}");
    }
    let core = "urn:ietf:params:scim:schemas:core:2.0:User:locale";
    assert_eq!(replace(core).unwrap()["locale"], "x");
}

#[test]
fn a_whole_extension_is_an_object() {
    let replace = |value: Value| patched(&json!({}), &json!({ "op": "replace", "path": FLEX, "value": value }));
    assert_eq!(replace(json!({ "level": 3 })).unwrap(), json!({ FLEX: { "level": 3 } }));
    assert!(matches!(replace(json!("x")), Err(ProtocolError::InvalidValue(_))));
}

#[test]
fn a_few_values_and_many_are_removed_in_the_same_way() {
    for count in [3, 8, 9, 20] {
        let before = json!({ "emails": emails(30) });
        let removed = patched(&before, &json!({ "op": "remove", "path": "emails", "value": emails(count) })).unwrap();
        assert_eq!(removed["emails"].as_array().unwrap().len(), 30 - count, "{count}");
        assert_eq!(removed["emails"][0]["value"], format!("{count}@example.com"));
    }
}

#[test]
fn a_filter_in_a_path_selects_by_any_sub_attribute() {
    let before = json!({ "emails": [
        { "value": "a@example.com", "type": "work" }, { "value": "work", "type": "home" }
    ] });
    let removed = patched(&before, &json!({ "op": "remove", "path": "emails[type eq \"work\"]" })).unwrap();
    assert_eq!(removed["emails"], json!([{ "value": "work", "type": "home" }]));
}

#[test]
fn a_text_is_the_value_of_a_list_but_no_object_elsewhere() {
    let replace =
        |path: &str| patched(&json!({}), &json!({ "op": "replace", "path": path, "value": "ada@example.com" }));
    assert_eq!(replace("emails").unwrap()["emails"], json!([{ "value": "ada@example.com" }]));
    assert!(matches!(replace("name"), Err(ProtocolError::InvalidValue(_))));
}

#[test]
fn an_excluded_part_is_left_out_of_an_object_and_of_each_value() {
    let user = json!({ "id": "1", "name": { "formatted": "Ada", "givenName": "Ada" }, "emails": [
        { "value": "a@example.com", "type": "work" }
    ] });
    let projection = Projection::new(None, Some("name.givenName,emails.type"));
    let shown = projection.apply(&schema(), document(&user));
    assert_eq!(shown["name"], json!({ "formatted": "Ada" }));
    assert_eq!(shown["emails"], json!([{ "value": "a@example.com" }]));
}

#[test]
fn of_three_new_primary_values_one_stays_primary() {
    let emails = json!([
        { "value": "a@example.com", "primary": true },
        { "value": "b@example.com", "primary": true },
        { "value": "c@example.com", "primary": true },
    ]);
    let user = patched(&json!({}), &json!({ "op": "replace", "path": "emails", "value": emails })).unwrap();
    let primary: Vec<_> = user["emails"].as_array().unwrap().iter().filter(|email| email["primary"] == true).collect();
    assert_eq!(primary.len(), 1, "{user}");
}

#[test]
fn equal_values_of_a_changed_list_become_one() {
    let email = json!({ "value": "a@example.com", "type": "work" });
    let user = patched(&json!({}), &json!({ "op": "replace", "path": "emails", "value": [email, email] })).unwrap();
    assert_eq!(user["emails"].as_array().unwrap().len(), 1, "{user}");
    // A list that the patch does not change keeps its duplicates.
    let before = json!({ "emails": [email, email] });
    let user = patched(&before, &json!({ "op": "replace", "path": "displayName", "value": "Ada" })).unwrap();
    assert_eq!(user["emails"].as_array().unwrap().len(), 2, "{user}");
}

#[test]
fn a_filter_by_another_attribute_does_not_select_by_value() {
    let before = json!({ "emails": [{ "value": "home", "type": "work" }, { "value": "work", "type": "home" }] });
    let operation = json!({ "op": "remove", "path": "emails[type eq \"work\"]" });
    assert_eq!(patched(&before, &operation).unwrap()["emails"], json!([{ "value": "work", "type": "home" }]));
    let operation = json!({ "op": "remove", "path": "emails[value eq \"work\" or type eq \"work\"]" });
    assert_eq!(patched(&before, &operation).unwrap().get("emails"), None);
}
