//! Tests that Flexgate ignores all claims and header parameters except those that `docs/issuers.md` lists.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use flexgate::authn::{RELIED_UPON_CLAIMS, RELIED_UPON_PARAMETERS, TokenFault};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use crate::issuer::*;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

const TENANT: &str = "11111111-2222-3333-4444-555555555555";

/// Claims that are named in the settings of [`PRESETS`], or that describe the caller.
const NAMED: [&str; 12] = [
    "scope",
    "scp",
    "permissions",
    "roles",
    "preferred_username",
    "username",
    "email",
    "xms_edov",
    "name",
    "given_name",
    "family_name",
    "act",
];

/// One issuer for each preset, with the claims that its tokens contain in addition to [`Idp::claims`].
static PRESETS: LazyLock<Vec<(Idp, Value)>> = LazyLock::new(|| {
    let entra = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
    let google = json!({"preset": "google", "issuer": "https://accounts.google.com", "hosted_domains": ["a.example"]});
    let presets = [
        (json!({}), json!({})),
        (json!({"preset": "entra", "issuer": entra}), json!({"tid": TENANT, "oid": "1", "scp": "flexgate.token"})),
        (json!({"preset": "okta", "issuer": "{origin}/oauth2/x"}), json!({"cid": "1", "scp": ["flexgate.token"]})),
        (json!({"preset": "auth0", "issuer": "{origin}/"}), json!({"permissions": ["flexgate.token"]})),
        (json!({"preset": "cognito"}), json!({"client_id": "flexgate", "token_use": "access", "username": "ada"})),
        (google, json!({"hd": "a.example"})),
    ];
    RUNTIME.block_on(async {
        let mut all = Vec::new();
        for (mut settings, claims) in presets {
            settings["roles_claim"] = json!("roles");
            let idp = Idp::with(settings).await;
            idp.verifier.prewarm(soon()).await;
            all.push((idp, claims));
        }
        all
    })
});

/// Returns arbitrary JSON values, with at most a few levels of nesting.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,4}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Returns names for claims and parameters: some common ones, and arbitrary ones.
fn a_name() -> impl Strategy<Value = String> {
    const KNOWN: [&str; 40] = [
        "jti",
        "sid",
        "azp",
        "appid",
        "cid",
        "auth_time",
        "acr",
        "amr",
        "act",
        "may_act",
        "groups",
        "realm_access",
        "resource_access",
        "_claim_sources",
        "ver",
        "idp",
        "ipaddr",
        "upn",
        "unique_name",
        "phone_number",
        "address",
        "locale",
        "zoneinfo",
        "updated_at",
        "entitlements",
        "authorization_details",
        "vct",
        "status",
        "sub_jwk",
        "toe",
        "txn",
        "jku",
        "jwk",
        "x5u",
        "x5c",
        "x5t",
        "x5t#S256",
        "cty",
        "zip",
        "b64",
    ];
    prop_oneof![proptest::sample::select(&KNOWN[..]).prop_map(str::to_owned), "\\PC{0,8}"]
}

fn more() -> impl Strategy<Value = Map<String, Value>> {
    proptest::collection::btree_map(a_name(), any_json(), 0..5).prop_map(|map| map.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn an_accepted_token_stays_accepted_whatever_it_says_beside(
        which in 0..6_usize, claims_beside in more(), header_beside in more()
    ) {
        let (idp, own) = &PRESETS[which];
        let mut claims = idp.claims_with(own);
        let mut header = json!({"alg": "ES256", "typ": "JWT", "kid": "k1"});
        let judge = |header: &Value, claims: &Value| {
            RUNTIME.block_on(idp.verify(&ES256.token(header.to_string(), claims.to_string())))
        };
        let before = judge(&header, &claims).unwrap();
        for (name, value) in claims_beside {
            if !RELIED_UPON_CLAIMS.contains(&&*name) && !NAMED.contains(&&*name) {
                claims[name] = value;
            }
        }
        for (name, value) in header_beside {
            if !RELIED_UPON_PARAMETERS.contains(&&*name) {
                header[name] = value;
            }
        }
        let after = judge(&header, &claims).unwrap();
        prop_assert_eq!(&before.identity, &after.identity);
        prop_assert_eq!(&before.scopes, &after.scopes);
        prop_assert_eq!(&before.username, &after.username);
        prop_assert_eq!(&before.roles, &after.roles);
        prop_assert_eq!(before.expires_at, after.expires_at);
    }

    #[test]
    fn a_description_of_any_type_refuses_nobody(
        which in 0..6_usize, name in proptest::sample::select(&NAMED[4..]), value in any_json()
    ) {
        let (idp, own) = &PRESETS[which];
        let mut claims = idp.claims_with(own);
        claims[name] = value;
        let token = ES256.token(header(&json!({})), claims.to_string());
        prop_assert!(RUNTIME.block_on(idp.verify(&token)).is_ok());
    }
}

#[test]
fn what_is_relied_upon_still_refuses() {
    let (idp, _) = &PRESETS[0];
    let fault = |parameter: &Value, claim: &Value| {
        let token = ES256.token(header(parameter), idp.claims_with(claim).to_string());
        RUNTIME.block_on(idp.fault(&token))
    };
    assert_eq!(fault(&json!({"crit": ["exp"]}), &json!({})), TokenFault::Critical);
    assert_eq!(fault(&json!({"crit": []}), &json!({})), TokenFault::Critical);
    assert_eq!(fault(&json!({"typ": "logout+jwt"}), &json!({})), TokenFault::Type);
    assert_eq!(fault(&json!({}), &json!({"cnf": {"jkt": "x"}})), TokenFault::Bound);
    assert_eq!(fault(&json!({}), &json!({"cnf": 7})), TokenFault::Bound);
    assert_eq!(fault(&json!({}), &json!({"events": {}})), TokenFault::SecurityEvent);
    assert_eq!(fault(&json!({}), &json!({"nonce": "n"})), TokenFault::IdToken);
    assert_eq!(fault(&json!({}), &json!({"_claim_names": {"roles": "x"}})), TokenFault::LeftOut("roles".into()));
}

/// Returns the names in the first column of the table after this heading.
fn table(page: &str, heading: &str) -> BTreeSet<String> {
    let (_, section) = page.split_once(&format!("\n{heading}\n")).unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = rows.skip(2).map(|row| row.split('|').nth(1).unwrap());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.map(str::to_owned).collect()
}

#[test]
fn the_documentation_lists_what_is_relied_upon() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/issuers.md")).unwrap();
    let listed = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(table(&page, "### Header parameters"), listed(&RELIED_UPON_PARAMETERS));
    assert_eq!(table(&page, "### Claims"), listed(&RELIED_UPON_CLAIMS));
}
