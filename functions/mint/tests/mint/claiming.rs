//! Tests which Flex users an issuer may claim (M29 and R31 of the attack register).

use flexgate::domain::ledger::Source;
use flexgate::domain::{DesiredUser, EventId, Identity};
use flexgate::store::scim::Entry;
use flexgate::users::ledger::News;
use serde_json::{Value, json};

use crate::gate::{Gate, Minted as _};

/// Returns the settings of two issuers. The first is the simulated issuer, to which this function adds `settings`.
fn two_issuers(settings: &Value) -> String {
    let mut ours = json!({"issuer": "{issuer}", "audiences": ["flexgate"], "roles_claim": "roles"});
    for (name, value) in settings.as_object().unwrap() {
        ours[name] = value.clone();
    }
    json!([ours, {"issuer": "https://partner.example", "audiences": ["flexgate"]}]).to_string()
}

async fn gate(settings: Value, just_in_time: &str) -> Gate {
    Gate::with(&[("FLEXGATE_ISSUERS", &two_issuers(&settings)), ("FLEXGATE_JUST_IN_TIME", just_in_time)]).await
}

impl Gate {
    /// Records the person as an active Flex user, in a statement from this source.
    async fn stated(&self, source: Source, username: &str) -> Result<String, flexgate::users::ledger::LedgerError> {
        let user = DesiredUser {
            username: username.parse().unwrap(),
            email: format!("{username}@example.com").parse().unwrap(),
            full_name: "Ada Lovelace".parse().unwrap(),
            roles: ["agent".parse().unwrap()].into(),
            worker_attributes: None,
        };
        let news = News::user(source, user, self.world.clock_rng().now(), &EventId::from(1));
        let deadline = flexgate::base::outbound::Deadline::after(std::time::Duration::from_secs(30));
        let report = self.ledger().state(&news, deadline).await?;
        Ok(report.user.unwrap().flex_user_sid.as_str().to_owned())
    }

    async fn is_bound(&self, username: &str) -> bool {
        let identity =
            Identity { issuer: self.world.simulator.issuer().into(), subject: format!("sub-{username}").into() };
        self.platform.bindings().user_of(&identity).await.unwrap().is_some()
    }

    async fn assert_unclaimable(&self, username: &str, whose: &str) {
        let answer = self.mint_as(username).await;
        answer.assert_problem(403, "mint_refused");
        assert!(
            answer.reason().contains(&format!("may not claim a user of {whose} (may_claim)")),
            "{}",
            answer.reason()
        );
        assert!(!answer.body.to_string().contains("claim"), "the caller learns nothing: {}", answer.body);
        assert!(!self.is_bound(username).await);
    }
}

#[tokio::test]
async fn m29_one_of_several_issuers_takes_over_nobody() {
    for just_in_time in ["off", "create", "create-and-sync"] {
        let gate = gate(json!({}), just_in_time).await;
        gate.world.at_twilio("console", &["agent"]).await;
        gate.assert_unclaimable("console", "flex").await;
        for (source, username) in [
            (Source::Scim, "scim-user"),
            (Source::Api, "api-user"),
            (Source::Operator, "imported"),
            (Source::Webhook("okta".parse().unwrap()), "hook-user"),
            (Source::Claims("https://partner.example".into()), "partner-user"),
        ] {
            let whose = source.to_string();
            // The function `stated` creates a user only if its statement says that the person is active. A statement
            // from a token's claims cannot say this, so create the user at Twilio first.
            if matches!(source, Source::Claims(_)) {
                gate.world.at_twilio(username, &["agent"]).await;
            }
            gate.stated(source, username).await.unwrap();
            gate.assert_unclaimable(username, &whose).await;
        }
    }
}

#[tokio::test]
async fn m29_a_person_whose_user_is_still_to_be_made_is_not_taken_over() {
    let gate = gate(json!({}), "create").await;
    gate.world
        .fault(
            &json!({"service": "flex-api", "path_contains": "Provision", "kind": "status", "status": 503, "times": 0}),
        )
        .await;
    assert!(gate.stated(Source::Scim, "ada").await.is_err());
    gate.world.no_faults().await;
    gate.assert_unclaimable("ada", "scim").await;
    assert_eq!(gate.world.twilio_user("ada").await, None);
}

#[tokio::test]
async fn m29_a_user_of_the_scim_store_belongs_to_scim() {
    let gate = gate(json!({"may_claim": ["flex"]}), "off").await;
    let sid = gate.world.at_twilio("ada", &["agent"]).await;
    // A SCIM user in the form in which Flexgate stored it before the people ledger existed.
    let entry = Entry {
        id: sid.parse().unwrap(),
        current: sid.parse().unwrap(),
        username: "ada".parse().unwrap(),
        external_id: Some("00u1".into()),
        asserted: json!({"displayName": "Ada Lovelace"}).as_object().unwrap().clone(),
        deleted: false,
        version: 0,
        updated_at: gate.world.clock_rng().now(),
    };
    assert!(gate.platform.scim().put_entry(&entry, None).await.unwrap());
    gate.assert_unclaimable("ada", "scim").await;
    let grace = gate.world.at_twilio("grace", &["agent"]).await;
    gate.mint_as("grace").await.assert_minted(&grace);
}

#[tokio::test]
async fn r31_an_issuer_claims_whom_it_may() {
    let gate = gate(json!({"may_claim": ["scim", "api"]}), "off").await;
    let ada = gate.stated(Source::Scim, "ada").await.unwrap();
    gate.stated(Source::Api, "ada").await.unwrap();
    gate.mint_as("ada").await.assert_minted(&ada);
    gate.stated(Source::Scim, "grace").await.unwrap();
    gate.stated(Source::Operator, "grace").await.unwrap();
    gate.assert_unclaimable("grace", "operator").await;
}

#[tokio::test]
async fn r31_a_single_issuer_claims_everybody_unless_it_says_otherwise() {
    let gate = Gate::start().await;
    let ada = gate.stated(Source::Scim, "ada").await.unwrap();
    gate.mint_as("ada").await.assert_minted(&ada);
    let one = r#"[{"issuer": "{issuer}", "audiences": ["flexgate"], "may_claim": []}]"#;
    let gate = Gate::with(&[("FLEXGATE_ISSUERS", one)]).await;
    gate.stated(Source::Scim, "ada").await.unwrap();
    gate.assert_unclaimable("ada", "scim").await;
}

#[tokio::test]
async fn r31_who_is_bound_or_new_is_not_affected() {
    let gate = gate(json!({}), "create").await;
    // A person unknown to every source.
    gate.mint_as("newcomer").await;
    let newcomer = gate.world.twilio_user("newcomer").await.unwrap();
    gate.mint_as("newcomer").await.assert_minted(newcomer["flex_user_sid"].as_str().unwrap());
    // Flexgate created this user from the claims in the issuer's token. Later, an administrator deactivated and
    // reactivated the user, which removed the binding. (Here, `unbind` removes it.) The issuer may still claim the
    // user.
    let sid = newcomer["flex_user_sid"].as_str().unwrap().parse().unwrap();
    gate.platform.bindings().unbind(&sid).await.unwrap();
    gate.mint_as("newcomer").await.assert_minted(sid.as_str());
    // This person was bound before the second issuer was configured.
    let ada = gate.stated(Source::Scim, "ada").await.unwrap();
    let identity = Identity { issuer: gate.world.simulator.issuer().into(), subject: "sub-ada".into() };
    let now = gate.world.clock_rng().now();
    gate.platform.bindings().bind(&identity, &ada.parse().unwrap(), now).await.unwrap();
    gate.mint_as("ada").await.assert_minted(&ada);
    let grace = gate.stated(Source::Scim, "grace").await.unwrap();
    let service = gate.token_of("service", json!({"scope": "flexgate.token.any", "preferred_username": null})).await;
    gate.mint(&service, json!({"username": "grace"})).await.assert_minted(&grace);
}

#[tokio::test]
async fn r31_an_issuer_is_held_to_its_usernames() {
    let settings = json!({"usernames": ["*@partner.example"], "may_claim": ["everybody"]});
    let gate = gate(settings, "create").await;
    let partner = gate.world.at_twilio("ada@partner.example", &["agent"]).await;
    gate.mint_as("ada@partner.example").await.assert_minted(&partner);
    gate.world.at_twilio("grace", &["agent"]).await;
    let answer = gate.mint_as("grace").await;
    answer.assert_problem(403, "mint_refused");
    assert!(answer.reason().contains("matches none of the issuer's patterns"), "{}", answer.reason());
    assert!(!gate.is_bound("grace").await);
    gate.mint_as("newcomer").await.assert_problem(403, "mint_refused");
    assert_eq!(gate.world.twilio_user("newcomer").await, None);
    let service = gate.token_of("service@partner.example", json!({"scope": "flexgate.token.any"})).await;
    gate.mint(&service, json!({"username": "grace"})).await.assert_problem(403, "mint_refused");
    // The setting `usernames` also applies to a person who was bound before the setting existed.
    let identity = Identity { issuer: gate.world.simulator.issuer().into(), subject: "sub-bea@partner.example".into() };
    let bea = gate.world.at_twilio("bea", &["agent"]).await;
    let now = gate.world.clock_rng().now();
    gate.platform.bindings().bind(&identity, &bea.parse().unwrap(), now).await.unwrap();
    let answer = gate.mint_as("bea@partner.example").await;
    answer.assert_problem(403, "mint_refused");
    assert!(answer.reason().contains("the Flex user's username matches none"), "{}", answer.reason());
}
