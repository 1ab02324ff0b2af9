//! Tests `flexgate doctor --template-parameters`. `tests/aws/test_parameters.py` tests the command's output with SAM
//! CLI's parser.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::process::{Command, Output};

use serde_json::{Value, json};

fn good() -> Value {
    json!({
        "TwilioAccountSid": "AC00000000000000000000000000000001",
        "TwilioInstanceSid": "GO00000000000000000000000000000001",
        "SsoProfiles": "default=JQ00000000000000000000000000000001",
        "DefaultReturnTo": "https://desk.example.com/",
        "AllowedOrigins": ["https://desk.example.com"],
        "Issuers": [{ "issuer": "https://login.example.com/", "audiences": ["flexgate"] }],
        "WebhookSources": { "okta": {} },
        "AllowedRoles": ["agent", "supervisor"],
        "TrustedProxies": 1,
    })
}

/// Returns valid parameters with some changes. `null` removes a parameter.
fn changed(changes: &Value) -> String {
    let mut parameters = good();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            parameters.as_object_mut().unwrap().remove(name);
        } else {
            parameters[name] = value.clone();
        }
    }
    parameters.to_string()
}

fn doctor(file: &str, options: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("prod.json"), file).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_flexgate"));
    command.args(["doctor", "--template-parameters", "prod.json"]).args(options);
    // The command must ignore the settings in the environment, so set one of them to nonsense.
    command.current_dir(folder.path()).env_clear().env("FLEXGATE_ISSUERS", "nonsense").output().unwrap()
}

/// Returns the mistakes, each with its remedy.
fn mistakes(file: &str) -> Vec<String> {
    let output = doctor(file, &["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |finding: &Value, member: &str| finding[member].as_str().unwrap().to_owned();
    let failed = report["checks"].as_array().unwrap().iter().filter(|finding| finding["status"] == "failure");
    let found: Vec<_> =
        failed.map(|finding| format!("{} → {}", text(finding, "text"), text(finding, "remedy"))).collect();
    assert_eq!(output.status.code(), Some(i32::from(!found.is_empty())), "{report:#}");
    assert_eq!(report["healthy"], found.is_empty());
    found
}

/// Asserts that there is one mistake, and that it contains `words`.
fn only_mistake(file: &str, words: &[&str]) {
    let found = mistakes(file);
    assert!(found.len() == 1 && words.iter().all(|word| found[0].contains(word)), "{words:?} in {found:#?} for {file}");
}

#[test]
fn good_parameters_are_printed_as_sam_needs_them() {
    let output = doctor(&good().to_string(), &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("ok       parameters   all 9 are well formed"), "{said}");
    let last = said.trim_end().lines().last().unwrap();
    assert!(last.starts_with("--parameter-overrides 'TwilioAccountSid=\"AC0000"), "{last}");
    assert!(last.contains(r#"Issuers="[{\"audiences\":[\"flexgate\"],\"issuer\":"#), "{last}");
    assert!(last.contains(r#" AllowedRoles="agent,supervisor" "#) && last.contains(r#" TrustedProxies="1""#), "{last}");
    // The output sets every parameter, because SAM CLI would keep a missing parameter's value from the previous
    // deployment.
    assert!(last.contains(r#" DefaultRoles="agent" "#) && last.contains(r#" TwilioRegion="" "#), "{last}");

    let output = doctor(&good().to_string(), &["--format", "cloudformation"]);
    let entries: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(entries.contains(&json!({ "ParameterKey": "WebhookSources", "ParameterValue": "{\"okta\":{}}" })));
}

#[test]
fn all_mistakes_are_in_one_answer_and_name_the_parameter() {
    let found = mistakes(&changed(&json!({
        "TwilioAccountSid": "AC1",
        "TwilioInstanceSid": null,
        "DefaultReturnTo": "https://elsewhere.example.com/",
        "AllowedRoles": ["owner"],
        "TrustedProxies": 11,
        "TrustedNetworks": "10.0.0.0/99",
        "Issuers": [{ "issuer": "https://login.example.com/", "audiences": [] }],
        "WebhookSources": { "clerk": {} },
        "OrphanDays": 0,
        "Canary": "yes",
        "LogRetentionDays": 8,
        "DomainName": "Gate",
        "CertificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/1",
        "Zebra": 1,
    })));
    let expected = [
        "Zebra is no parameter",
        "TwilioAccountSid must be AC",
        "TwilioInstanceSid is missing",
        "Issuers [0].audiences",
        "AllowedRoles must be",
        "OrphanDays must be",
        "DefaultReturnTo must be",
        "TrustedProxies must be from 0 to 10",
        "TrustedNetworks ",
        "DomainName must be a host name",
        "WebhookSources has a mistake in clerk",
        "Canary is \"yes\"",
        "LogRetentionDays is \"8\"",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{expected}: {found}");
        assert!(!found.contains("FLEXGATE_") && !found.contains("TWILIO_"), "{found}");
    }
}

#[test]
fn a_mistake_says_what_to_do() {
    only_mistake(
        &changed(&json!({ "SsoProfiles": "JQ1" })),
        &["correct it in prod.json: The SSO profiles, like default=JQ…"],
    );
    only_mistake(
        &changed(&json!({ "TwilioRegion": "ie1", "TwilioUrl": "https://a.example" })),
        &["together with TwilioRegion"],
    );
    only_mistake(
        &changed(&json!({ "DomainName": "gate.example.com" })),
        &["CertificateArn breaks a rule: DomainName needs CertificateArn"],
    );
}

#[test]
fn an_origin_with_a_mistake_does_not_make_the_address_after_sign_in_look_wrong() {
    for (name, value) in
        [("AllowedOrigins", json!(["desk.example.com"])), ("PublicUrl", json!("http://gate.example.com"))]
    {
        only_mistake(&changed(&json!({ name: value })), &[&format!("{name} ")]);
    }
    let domain = json!({ "DomainName": "a b", "CertificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/1" });
    only_mistake(&changed(&domain), &["DomainName "]);
}

#[test]
fn a_misspelt_parameter_is_a_mistake_because_sam_would_ignore_it() {
    let (name, variable) = ("AlowedOrigins", "FLEXGATE_SSO_PROFILES");
    only_mistake(&changed(&json!({ name: "https://a.example" })), &[name, "is AllowedOrigins meant?", "SAM ignores"]);
    only_mistake(&changed(&json!({ variable: "x" })), &[variable, "is SsoProfiles meant?"]);
}

#[test]
fn json_in_a_text_is_the_same_as_json_and_its_mistakes_have_a_place() {
    assert_eq!(mistakes(&changed(&json!({ "Issuers": good()["Issuers"].to_string() }))), Vec::<String>::new());
    let text = r#"[{"issuer": "a", audiences: []}]"#;
    only_mistake(
        &changed(&json!({ "Issuers": text })),
        &["Issuers is not JSON: key must be a string at line 1 column 18"],
    );
    only_mistake(
        &changed(&json!({ "WebhookSources": "{\"okta\": {}," })),
        &["WebhookSources is not JSON: EOF", "column 12"],
    );
    only_mistake(&changed(&json!({ "ScimGroupRoles": "{'A': 'agent'}" })), &["ScimGroupRoles is not JSON", "column 2"]);
    assert_eq!(mistakes(&format!("\u{feff}{}", good())), Vec::<String>::new(), "a byte order mark");
    // The file contains the value as JSON instead of a string. The command converts the value to text, but the user has
    // never seen that text. So the error message must not contain a position in it.
    let found = mistakes(&changed(&json!({ "WebhookSources": { "okta": { "secret": "x" } } })));
    assert!(found[0].contains("unknown field `secret`") && !found[0].contains("line 1"), "{found:?}");
    only_mistake(&changed(&json!({ "WebhookSources": {} })), &["WebhookSources is not set"]);
}

#[test]
fn a_value_that_would_arrive_changed_is_refused() {
    for value in ["rate(6 \"hours\")", "a\\b", "a\nb"] {
        only_mistake(
            &changed(&json!({ "SweepSchedule": value })),
            &["SweepSchedule contains", "SAM CLI cannot pass on"],
        );
    }
    only_mistake(&changed(&json!({ "AllowedRoles": [] })), &["AllowedRoles is an empty list", "\"none\""]);
    only_mistake(&changed(&json!({ "AllowedOrigins": ["https://a.example,https://b.example"] })), &["without commas"]);
    only_mistake(&changed(&json!({ "Canary": { "on": true } })), &["Canary must be a text"]);
    only_mistake(r#"{"Canary": true, "Canary": false}"#, &["prod.json is ambiguous: a member is repeated", "line 1"]);
    only_mistake("[]", &["prod.json must be a JSON object"]);
    only_mistake("{\n\"Canary\" true}", &["prod.json is not JSON: expected `:` at line 2 column 10"]);
}

#[test]
fn settings_that_are_too_large_for_aws_are_seen() {
    let issuer =
        |n: usize| json!({ "issuer": format!("https://login{n}.example.com/{}", "x".repeat(60)), "audiences": ["a"] });
    let issuers = |count: usize| Value::from((0..count).map(issuer).collect::<Vec<_>>());
    only_mistake(&changed(&json!({ "Issuers": issuers(40) })), &["Issuers has", "CloudFormation accepts 4096"]);
    let found = mistakes(&changed(&json!({ "Issuers": issuers(30) })));
    assert!(
        found.iter().any(|one| one.starts_with("Issuers makes the environment of the function provision too large")),
        "{found:#?}"
    );
}

#[test]
fn a_chosen_form_is_printed_alone_and_only_if_nothing_is_wrong() {
    let output = doctor(&good().to_string(), &["--format", "sam"]);
    assert!(output.stdout.starts_with(b"TwilioAccountSid=\"AC") && output.stderr.is_empty());
    let output = doctor(&changed(&json!({ "Canary": "yes" })), &["--format", "sam"]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), b"".as_slice()));
    assert!(complaint.contains("Canary is \"yes\""), "{complaint}");
    assert_eq!(doctor(&good().to_string(), &["--format", "yaml"]).status.code(), Some(2));
    assert_eq!(doctor(&good().to_string(), &["--format", "sam", "--json"]).status.code(), Some(2));
}
