//! Tests that Flexgate refuses issuer settings that would trust too many callers, or nobody.

use flexgate::authn::{SettingsFault, issuers};
use serde_json::{Value, json};

fn faults(settings: &Value) -> Vec<(String, String)> {
    let text = settings.to_string();
    issuers(&text).err().into_iter().flatten().map(|SettingsFault { place, problem }| (place, problem)).collect()
}

fn places(settings: &Value) -> Vec<String> {
    faults(&json!([settings])).into_iter().map(|(place, _)| place).collect()
}

fn good() -> Value {
    json!({"issuer": "https://login.example.com/", "audiences": ["flexgate"]})
}

fn with(name: &str, value: &Value) -> Value {
    let mut settings = good();
    settings[name] = value.clone();
    settings
}

#[test]
fn issuer_and_audience_are_enough() {
    let all = issuers(&json!([good()]).to_string()).unwrap();
    assert_eq!(all[0].name(), "https://login.example.com/");
}

#[test]
fn everything_wrong_is_said_at_once() {
    let bad = json!({
        "issuer": "http://login.example.com", "audiences": [], "jwks_uri": "ftp://x/", "token_types": [],
        "scope_claim": "", "scope_map": {"a": "flexgate.everything"}, "role_map": {"a": "root"}
    });
    let said = faults(&json!([good(), bad, good(), {"issuer": 1}]));
    let places: Vec<&str> = said.iter().map(|(place, _)| place.as_str()).collect();
    let expected = [
        "[1].issuer",
        "[1].audiences",
        "[1].jwks_uri",
        "[1].token_types",
        "[1].role_map",
        "[1].scope_claim",
        "[1].scope_map.a",
        "[1].role_map.a",
        "[2].issuer",
        "[3]",
    ];
    assert_eq!(places, expected);
    assert!(said[1].1.contains("an empty list would accept nobody"));
}

#[test]
fn only_this_machine_may_be_asked_in_the_clear() {
    for issuer in ["http://localhost:9010/idp", "http://127.0.0.1:1/", "http://[::1]:1/", "https://login.example.com/a"]
    {
        assert_eq!(places(&with("issuer", &json!(issuer))), [""; 0], "{issuer}");
    }
    for issuer in [
        "http://localhost.evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://127.0.0.1@evil.example/",
        "http://10.0.0.1/",
        "https://user@login.example.com/",
        "https://login.example.com/#a",
        "https://login.example.com/?a",
        "login.example.com",
        "",
    ] {
        assert_eq!(places(&with("issuer", &json!(issuer))), ["[0].issuer"], "{issuer}");
    }
}

#[test]
fn a_preset_refuses_what_cannot_be_its_issuer() {
    let tenant = "11111111-2222-3333-4444-555555555555";
    for (preset, issuer, sound) in [
        ("entra", format!("https://login.microsoftonline.com/{tenant}/v2.0"), true),
        ("entra", "https://login.microsoftonline.com/common/v2.0".into(), false),
        ("entra", "https://login.microsoftonline.com/organizations/v2.0".into(), false),
        ("entra", "https://login.microsoftonline.com/{tenantid}/v2.0".into(), false),
        ("entra", format!("https://sts.windows.net/{tenant}/"), false),
        ("okta", "https://example.okta.com/oauth2/default".into(), true),
        ("okta", "https://example.okta.com".into(), false),
        ("auth0", "https://example.eu.auth0.com/".into(), true),
        ("auth0", "https://example.eu.auth0.com".into(), false),
        ("google", "https://accounts.example.com".into(), false),
    ] {
        let settings = json!({"preset": preset, "issuer": issuer, "audiences": ["flexgate"]});
        assert_eq!(places(&settings).is_empty(), sound, "{preset} {issuer}");
    }
    let mut google = json!({"preset": "google", "issuer": "https://accounts.google.com", "audiences": ["flexgate"]});
    assert_eq!(places(&google), ["[0].hosted_domains"]);
    google["hosted_domains"] = json!(["example.com"]);
    assert_eq!(places(&google), [""; 0]);
    assert_eq!(places(&with("hosted_domains", &json!(["example.com"]))), ["[0].hosted_domains"]);
}

#[test]
fn nonsense_is_not_overlooked() {
    for text in ["", "[]", "{}", "null", "[1]", r#"[{"issuer":"https://a/","issuer":"https://b/","audiences":["x"]}]"#]
    {
        assert!(issuers(text).is_err(), "{text}");
    }
    assert_eq!(places(&with("audience", &json!("flexgate"))), ["[0]"]);
    assert_eq!(places(&with("preset", &json!("azure"))), ["[0]"]);
    assert_eq!(places(&with("audiences", &json!([""]))), ["[0].audiences"]);
    assert_eq!(places(&with("scope_map", &json!({}))), ["[0].scope_map"]);
    assert_eq!(places(&with("role_map", &json!({"a": "agent"}))), ["[0].role_map"]);
    assert_eq!(faults(&json!([good(), good()])), [("[1].issuer".into(), "is configured twice".into())]);
}

#[test]
fn a_username_is_one_claim_or_a_template() {
    for template in ["{tid}.{oid}", "{sub}@example.com", "{/a/b}"] {
        assert_eq!(places(&with("username_template", &json!(template))), [""; 0], "{template}");
    }
    for template in ["", "ada", "{a}{b}", "{a", "{}"] {
        assert_eq!(places(&with("username_template", &json!(template))), ["[0].username_template"], "{template}");
    }
    let mut both = with("username_template", &json!("{sub}"));
    both["username_claim"] = json!("sub");
    assert_eq!(places(&both), ["[0].username_template"]);
    assert_eq!(places(&with("username_claim", &json!(""))), ["[0].username_claim"]);
}

#[test]
fn r31_limits_of_an_issuer_are_checked_at_the_start() {
    for (name, value) in [
        ("usernames", json!(["*@partner.example", "partner-*", "ada"])),
        ("may_claim", json!([])),
        ("may_claim", json!(["everybody"])),
        ("may_claim", json!(["flex", "scim", "api", "operator", "webhook:okta", "claims:https://other.example"])),
        ("scim_external_id", json!(true)),
    ] {
        assert_eq!(places(&with(name, &value)), [""; 0], "{name} {value}");
    }
    for (name, value, place) in [
        ("usernames", json!([]), "[0].usernames"),
        ("usernames", json!(["*"]), "[0].usernames"),
        ("usernames", json!([""]), "[0].usernames"),
        ("usernames", json!(["ada", "^a.*$"]), "[0].usernames"),
        ("usernames", json!("ada"), "[0]"),
        ("may_claim", json!(["everyone"]), "[0].may_claim"),
        ("may_claim", json!(["everybody", "scim"]), "[0].may_claim"),
        ("may_claim", json!(["scim-group:1"]), "[0].may_claim"),
        ("may_claim", json!("everybody"), "[0]"),
        ("scim_external_id", json!("true"), "[0]"),
    ] {
        assert_eq!(places(&with(name, &value)), [place], "{name} {value}");
    }
    let (one, mut other) = (with("scim_external_id", &json!(true)), with("scim_external_id", &json!(true)));
    other["issuer"] = json!("https://other.example/");
    let said = faults(&json!([one, other]));
    assert_eq!(said.iter().map(|(place, _)| place.as_str()).collect::<Vec<_>>(), ["[1].scim_external_id"]);
}

#[test]
fn r31_an_external_id_is_a_subject_only_if_the_settings_say_so() {
    let identity = |settings: &Value, external_id: &str| {
        let issuer = issuers(&json!([settings]).to_string()).unwrap().remove(0);
        issuer.identity_of_external_id(external_id).map(|identity| identity.map(|identity| identity.subject))
    };
    assert_eq!(identity(&good(), "00u1"), None);
    let okta = with("scim_external_id", &json!(true));
    assert_eq!(identity(&okta, "00u1"), Some(Ok("00u1".into())));
    for unusable in ["", "a\nb", &"x".repeat(256)] {
        assert!(identity(&okta, unusable).unwrap().is_err(), "{unusable}");
    }
    let tenant = "11111111-2222-3333-4444-555555555555";
    let entra = json!({
        "preset": "entra", "issuer": format!("https://login.microsoftonline.com/{tenant}/v2.0"),
        "audiences": ["flexgate"], "scim_external_id": true,
    });
    let oid = "99999999-AAAA-3333-4444-555555555555";
    assert_eq!(identity(&entra, oid), Some(Ok(format!("{tenant}:{}", oid.to_lowercase()).into())));
    assert!(identity(&entra, "ada").unwrap().is_err(), "the mail nickname, which Entra sends by default");
}

#[test]
fn every_example_of_the_documentation_is_accepted() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/issuers.md")).unwrap();
    let examples: Vec<_> = page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 6, "one for each preset");
    for example in examples {
        assert_eq!(issuers(example).map(|all| all.len()), Ok(1), "{example}");
    }
}
