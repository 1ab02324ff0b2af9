//! Tests which requests a plan contains.

use serde_json::json;

use super::model::{Model, flex_user, policy};
use crate::event::EventId;
use crate::ledger::{Occasion, Plan, Said, Source, Statement, Step, desired};
use crate::user::{FlexUser, WorkerAttributes};

#[test]
fn changed_attributes_are_sent_and_those_that_are_gone_are_emptied() {
    let parse = |value: serde_json::Value| -> WorkerAttributes { serde_json::from_value(value).unwrap() };
    let sent = json!({"language.string": "en", "level.int": 3});
    let cases = [
        (json!({"language.string": "en"}), None, false, Some(json!({"language.string": "en"}))),
        (sent.clone(), Some(sent.clone()), false, None),
        (
            json!({"language.string": "fr"}),
            Some(sent.clone()),
            false,
            Some(json!({"language.string": "fr", "level.int": 0})),
        ),
        // For a reactivated user, Twilio makes a new worker without attributes. So all attributes are sent, and none is
        // emptied.
        (sent.clone(), Some(sent.clone()), true, Some(sent.clone())),
        (json!({"language.string": "fr"}), Some(sent.clone()), true, Some(json!({"language.string": "fr"}))),
    ];
    for (wanted, earlier, deactivated, expected) in cases {
        let mut model = Model::new(Some(flex_user(&["agent"])));
        model.says_active(&Source::Scim, true);
        model.person.given.attributes = earlier.clone().map(parse);
        let (at, id, attributes) = (model.now(), model.id(), parse(wanted.clone()));
        let said = Statement { attributes: Some(Said::new(at, &id, Some(attributes))), ..Statement::default() };
        model.person.statements.entry(Source::Scim).or_default().merge(said);
        let user = FlexUser { deactivated: Some(deactivated), ..flex_user(&["agent"]) };
        let wants = desired(&model.person, &policy(), Some(&user), &Occasion::at(model.now())).unwrap();
        let step = wants.plan(&model.person.username, Some(&user)).unwrap().step;
        let got = match step {
            Step::Provision(user) => user.worker_attributes,
            Step::Nothing => None,
            step => panic!("{step:?}"),
        };
        assert_eq!(got, expected.map(parse), "{wanted} after {earlier:?}");
    }
}

#[test]
fn a_locale_is_set_only_for_somebody_who_has_or_gets_a_flex_user() {
    let mut model = Model::new(None);
    let locale =
        |at, id: &EventId| Statement { locale: Some(Said::new(at, id, Some("en-gb".into()))), ..Statement::default() };
    model.say(&Source::Scim, locale);
    let plan = |model: &Model, user: Option<&FlexUser>| {
        desired(&model.person, &policy(), user, &Occasion::at(model.now())).unwrap().plan(&model.person.username, user)
    };
    assert_eq!(plan(&model, None), Ok(Plan { step: Step::Nothing, locale: None, blocked: vec![] }));
    let user = flex_user(&["agent"]);
    assert_eq!(plan(&model, Some(&user)).unwrap().locale.as_deref(), Some("en-gb"));
    let same = FlexUser { locale: Some("EN-GB".into()), ..user };
    assert_eq!(plan(&model, Some(&same)).unwrap().locale, None);
    model.says_active(&Source::Scim, true);
    assert_eq!(plan(&model, None).unwrap().locale.as_deref(), Some("en-gb"));
}
