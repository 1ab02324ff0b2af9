//! Tests how token claims combine with statements from other sources in the people ledger.

use flexgate::base::clock_rng::Clock as _;
use flexgate::base::outbound::Deadline;
use flexgate::domain::EventId;
use flexgate::domain::ledger::{Said, Source, Statement};
use flexgate::users::ledger::{Earlier, LedgerError, News, Report};
use serde_json::{Value, json};
use time::Duration;

use crate::gate::{Gate, Minted as _};

const CREATE: &[(&str, &str)] = &[("FLEXGATE_JUST_IN_TIME", "create")];
const SYNC: &[(&str, &str)] = &[("FLEXGATE_JUST_IN_TIME", "create-and-sync")];

impl Gate {
    async fn says(&self, source: Source, username: &str, statement: Statement) -> Result<Report, LedgerError> {
        let news = News {
            source,
            subject: None,
            identity: None,
            username: Some(username.parse().unwrap()),
            flex_user_sid: None,
            statement,
            earlier: Earlier::Everything,
        };
        self.ledger().state(&news, Deadline::after(std::time::Duration::from_secs(10))).await
    }

    /// Writes to the ledger the statement that a request to `/users` with these values would write.
    pub async fn api_says(&self, username: &str, active: Option<bool>, roles: Option<&[&str]>) {
        let (now, id) = (self.world.clock.now(), EventId::from(7));
        let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
        let email = format!("{username}@example.com").parse().unwrap();
        let statement = Statement {
            active: active.map(|active| Said::access(now, &id, active)),
            roles: roles.map(|roles| Said::new(now, &id, names(roles))),
            email: Some(Said::new(now, &id, Some(email))),
            full_name: Some(Said::new(now, &id, Some("Said by the API".parse().unwrap()))),
            ..Statement::default()
        };
        self.says(Source::Api, username, statement).await.unwrap();
    }

    pub async fn operator_says_inactive(&self, username: &str) {
        let active = Some(Said::access(self.world.clock.now(), &EventId::from(8), false));
        self.says(Source::Operator, username, Statement { active, ..Statement::default() }).await.unwrap();
    }

    /// Mints with these additional claims. Returns the Flex user after the mint.
    async fn mint_with(&self, username: &str, claims: Value) -> Value {
        let token = self.token_of(username, claims).await;
        let answer = self.mint(&token, json!({})).await;
        assert_eq!(answer.status, 201, "{:?}", answer.audit());
        self.world.twilio_user(username).await.unwrap()
    }
}

/// Tests a bug that the simulated world (docs/testing.md) found: a role stayed although the newest claims did not
/// contain it.
#[tokio::test]
async fn a_role_that_another_process_gave_goes_with_the_next_claims_although_this_process_has_seen_them_before() {
    let gate = Gate::with(SYNC).await;
    let twin = gate.twin().await;
    let plain = json!({ "roles": ["agent"] });
    assert_eq!(gate.mint_with("ada", plain.clone()).await["roles"], json!(["agent"]));
    gate.world.advance(Duration::seconds(10)).await;
    let token = gate.token_of("ada", json!({ "roles": ["supervisor"] })).await;
    gate.send_to(&twin, &[&format!("Bearer {token}")], "{}".to_owned()).await.is(201);
    assert_eq!(gate.world.twilio_user("ada").await.unwrap()["roles"], json!(["supervisor"]));
    gate.world.advance(Duration::seconds(10)).await;

    let token = gate.token_of("ada", plain).await;
    let minted = gate.mint(&token, json!({})).await.is(201);
    assert_eq!(minted["token_info"]["roles"], json!(["agent"]));
    assert_eq!(gate.world.twilio_user("ada").await.unwrap()["roles"], json!(["agent"]));
}

#[tokio::test]
async fn a_role_goes_with_the_claims_that_gave_it_unless_another_source_gives_it_too() {
    let gate = Gate::with(SYNC).await;
    let both = json!({"roles": ["agent", "supervisor"]});
    assert_eq!(gate.mint_with("ada", both.clone()).await["roles"], both["roles"]);
    assert_eq!(gate.mint_with("ada", json!({"roles": ["agent"]})).await["roles"], json!(["agent"]));
    // An issuer may omit the roles claim for a person who has no roles.
    for none in [json!({}), json!({"roles": []}), json!({"roles": ["unknown"]})] {
        assert_eq!(gate.mint_with("ada", json!({"roles": ["supervisor"]})).await["roles"], json!(["supervisor"]));
        assert_eq!(gate.mint_with("ada", none.clone()).await["roles"], json!(["agent"]), "the default, {none}");
    }
    gate.api_says("ada", Some(true), Some(&["supervisor"])).await;
    assert_eq!(gate.mint_with("ada", both).await["roles"], json!(["agent", "supervisor"]));
    assert_eq!(gate.mint_with("ada", json!({"roles": ["agent"]})).await["roles"], json!(["agent", "supervisor"]));
    gate.api_says("ada", Some(true), Some(&[])).await;
    assert_eq!(gate.world.twilio_user("ada").await.unwrap()["roles"], json!(["agent"]));
}

#[tokio::test]
async fn a_role_that_was_made_by_hand_or_that_flexgate_cannot_give_stays() {
    let gate = Gate::with(SYNC).await;
    gate.world.at_twilio("ada", &["supervisor"]).await;
    for claims in [json!({"roles": ["agent"]}), json!({}), json!({"roles": ["agent"], "name": "Ada King"})] {
        let roles = gate.mint_with("ada", claims).await["roles"].clone();
        assert!(roles.as_array().unwrap().contains(&json!("supervisor")), "{roles}");
    }
    let seeded = json!({"count": 1, "prefix": "wfo", "roles": ["agent", "wfo.full_access"]});
    gate.world.ask(http::Method::POST, "/__sim/users", &seeded).await;
    let claims = json!({"email": "new@example.com", "name": "Ada King", "roles": ["supervisor"]});
    let user = gate.mint_with("wfo000000", claims).await;
    assert_eq!((&user["roles"], &user["email"]), (&json!(["agent", "wfo.full_access"]), &json!("new@example.com")));
}

#[tokio::test]
async fn an_older_token_after_a_newer_one_changes_nothing() {
    let gate = Gate::with(SYNC).await;
    let issued = gate.world.clock.now().unix_timestamp() - 600;
    let claims = |later: i64, role: &str, name: &str| json!({"iat": issued + later, "roles": [role], "name": name});
    let older = gate.token_of("ada", claims(0, "supervisor", "Ada Old")).await;
    gate.mint(&older, json!({})).await;
    assert_eq!(gate.world.twilio_user("ada").await.unwrap()["roles"], json!(["supervisor"]));
    let ada = gate.mint_with("ada", claims(60, "agent", "Ada New")).await;
    assert_eq!((&ada["roles"], &ada["full_name"]), (&json!(["agent"]), &json!("Ada New")));
    let before = gate.person("ada").await.unwrap();
    for _ in 0..2 {
        gate.mint(&older, json!({})).await;
        gate.world.clock.advance(Duration::seconds(61));
        assert_eq!(gate.world.twilio_user("ada").await.unwrap(), ada);
    }
    assert_eq!(gate.person("ada").await.unwrap(), before);
    // A second process, with an empty cache, also ignores the claims of the older token.
    let twin = gate.twin().await;
    gate.send_to(&twin, &[&format!("Bearer {older}")], "{}".to_owned()).await;
    assert_eq!(gate.person("ada").await.unwrap(), before);
}

#[tokio::test]
async fn a_token_from_the_future_outdates_nothing_that_follows() {
    let gate = Gate::with(SYNC).await;
    let ahead = gate.world.clock.now().unix_timestamp() + 25;
    gate.mint_with("ada", json!({"iat": ahead, "roles": ["supervisor"]})).await;
    gate.world.clock.advance(Duration::seconds(2));
    let now = gate.world.clock.now().unix_timestamp();
    assert_eq!(gate.mint_with("ada", json!({"iat": now, "roles": ["agent"]})).await["roles"], json!(["agent"]));
}

#[tokio::test]
async fn the_same_claims_are_written_once_a_day() {
    let gate = Gate::with(SYNC).await;
    gate.world.at_twilio("ada", &["agent"]).await;
    gate.mint_with("ada", json!({"roles": ["agent"]})).await;
    let stated = gate.person("ada").await.unwrap();
    for _ in 0..3 {
        gate.world.advance(Duration::hours(7)).await;
        gate.world.forget_calls().await;
        gate.mint_with("ada", json!({"roles": ["agent"]})).await;
        let calls = gate.world.calls("flex-api").await;
        assert_eq!(calls.len(), 2, "{calls:?}");
        assert_eq!(gate.person("ada").await.unwrap(), stated, "nothing is written");
    }
    gate.world.advance(Duration::hours(4)).await;
    gate.world.forget_calls().await;
    gate.mint_with("ada", json!({"roles": ["agent"]})).await;
    assert_eq!(gate.world.calls("flex-api").await.len(), 2);
    let renewed = gate.person("ada").await.unwrap();
    assert!(renewed.is_settled() && renewed.version > stated.version);
    let (before, after) = (&stated.statements[&gate.claims()], &renewed.statements[&gate.claims()]);
    assert!(after.latest().unwrap().at > before.latest().unwrap().at + Duration::DAY);
}

#[tokio::test]
async fn claims_add_a_role_only_at_a_mint_of_their_own() {
    let gate = Gate::with(SYNC).await;
    gate.mint_with("ada", json!({"roles": ["agent"]})).await;
    // Make the state that a crash can leave behind: the ledger contains the roles, but the Flex user does not have
    // them.
    let person = gate.person("ada").await.unwrap();
    let source = gate.claims();
    let mut statement = person.statements[&source].clone();
    let moment = statement.roles.as_ref().unwrap().moment.clone();
    let roles = ["agent".into(), "supervisor".into()].into();
    statement.roles = Some(Said { moment, value: roles });
    let stating = flexgate::store::Stating { source: &source, statement: &statement, subject: None, given: None };
    gate.platform.people().state(person.id, person.version, stating).await.unwrap();

    let soon = Deadline::after(std::time::Duration::from_secs(10));
    gate.ledger().reconcile(person.id, soon).await.unwrap();
    assert_eq!(gate.world.twilio_user("ada").await.unwrap()["roles"], json!(["agent"]));
    gate.api_says("ada", Some(true), None).await;
    assert_eq!(gate.world.twilio_user("ada").await.unwrap()["roles"], json!(["agent"]));
    // The ledger already contains these claims, but the mint must still add the missing role.
    gate.world.clock.advance(Duration::seconds(61));
    let both = json!({"roles": ["agent", "supervisor"]});
    assert_eq!(gate.mint_with("ada", both.clone()).await["roles"], both["roles"]);
    // Another reconciliation does not remove the role.
    gate.ledger().reconcile(person.id, soon).await.unwrap();
    assert_eq!(gate.world.twilio_user("ada").await.unwrap()["roles"], both["roles"]);
}

#[tokio::test]
async fn claims_of_somebody_who_does_not_come_any_more_expire() {
    for mode in [CREATE, SYNC] {
        let gate = Gate::with(mode).await;
        for username in ["ada", "grace"] {
            gate.mint_with(username, json!({"roles": ["supervisor"]})).await;
        }
        for _ in 0..4 {
            gate.world.advance(Duration::days(8)).await;
            gate.mint_with("ada", json!({"roles": ["supervisor"]})).await;
        }
        for username in ["ada", "grace"] {
            gate.api_says(username, Some(true), None).await;
        }
        assert_eq!(gate.world.twilio_user("ada").await.unwrap()["roles"], json!(["supervisor"]));
        assert_eq!(gate.world.twilio_user("grace").await.unwrap()["roles"], json!(["agent"]));
        // When grace mints again, her new claims apply.
        assert_eq!(gate.mint_with("grace", json!({"roles": ["supervisor"]})).await["roles"], json!(["supervisor"]));
    }
}

#[tokio::test]
async fn where_users_do_not_follow_their_claims_those_they_were_made_by_are_kept() {
    let gate = Gate::with(CREATE).await;
    gate.world.at_twilio("grace", &["agent"]).await;
    gate.mint_with("ada", json!({"roles": ["supervisor"]})).await;
    let made = gate.person("ada").await.unwrap();
    for _ in 0..2 {
        gate.world.advance(Duration::hours(30)).await;
        for username in ["ada", "grace"] {
            gate.mint_with(username, json!({"roles": ["agent"], "name": "Other Name"})).await;
        }
    }
    let kept = gate.person("ada").await.unwrap();
    assert!(kept.version > made.version && kept.is_settled());
    let roles = |person: &flexgate::domain::ledger::Person| person.statements[&gate.claims()].roles.clone().unwrap();
    assert_eq!(roles(&kept).value, roles(&made).value);
    let ada = gate.world.twilio_user("ada").await.unwrap();
    assert_eq!((&ada["roles"], &ada["full_name"]), (&json!(["supervisor"]), &json!("ada Example")));
    assert!(gate.person("grace").await.is_none(), "nothing is said of a user whom the claims did not make");
}

#[tokio::test]
async fn without_just_in_time_claims_are_not_renewed() {
    let gate = Gate::with(CREATE).await;
    gate.mint_with("ada", json!({"roles": ["supervisor"]})).await;
    let made = gate.person("ada").await.unwrap();
    let off = gate.twin_set_up_with(&[]).await;
    gate.world.advance(Duration::hours(30)).await;
    let token = gate.token_of("ada", json!({"roles": ["supervisor"]})).await;
    gate.send_to(&off, &[&format!("Bearer {token}")], "{}".to_owned()).await.is(201);
    assert_eq!(gate.person("ada").await.unwrap(), made);
}

#[tokio::test]
async fn a_new_user_gets_the_other_roles_of_the_token_at_the_next_mint_that_asks_for_all() {
    let gate = Gate::with(SYNC).await;
    let token = gate.token_of("ada", json!({"roles": ["agent", "supervisor"]})).await;
    let asked = json!({"roles": ["agent"]});
    let minted = gate.mint(&token, asked.clone()).await.is(201);
    assert_eq!(minted["token_info"]["roles"], json!(["agent"]));
    let minted = gate.mint(&token, json!({})).await.is(201);
    assert_eq!(minted["token_info"]["roles"], json!(["agent", "supervisor"]));
    // A mint with fewer roles does not take roles away. A token from Twilio always contains all of the user's roles, so
    // the mint is refused.
    gate.mint(&token, asked).await.assert_problem(403, "mint_refused");
    assert_eq!(gate.world.twilio_user("ada").await.unwrap()["roles"], json!(["agent", "supervisor"]));
    gate.world.clock.advance(Duration::seconds(61));
    gate.mint(&token, json!({"roles": ["agent"]})).await.assert_problem(403, "mint_refused");
    assert_eq!(gate.world.twilio_user("ada").await.unwrap()["roles"], json!(["agent", "supervisor"]));
}

#[tokio::test]
async fn a_name_follows_the_source_that_comes_first() {
    let gate = Gate::with(SYNC).await;
    gate.api_says("ada", Some(true), None).await;
    assert_eq!(gate.world.twilio_user("ada").await.unwrap()["full_name"], "Said by the API");
    assert_eq!(gate.mint_with("ada", json!({})).await["full_name"], "ada Example", "claims come before the API");
    // The token contains no name, so the name from the API applies. An unverified e-mail address is ignored.
    let silent = json!({"name": null, "email": "other@example.com", "email_verified": false});
    let ada = gate.mint_with("ada", silent).await;
    assert_eq!((&ada["full_name"], &ada["email"]), (&json!("Said by the API"), &json!("ada@example.com")));
}

#[tokio::test]
async fn r71_claims_do_not_take_the_last_administrator_away() {
    let admins = ("FLEXGATE_ALLOWED_ROLES", "agent,supervisor,admin");
    let gate = Gate::with(&[SYNC[0], admins]).await;
    gate.mint_with("ada", json!({"roles": ["admin"]})).await;
    let ada = gate.mint_with("ada", json!({"roles": ["agent"]})).await;
    assert_eq!(ada["roles"], json!(["admin"]), "she can sign in, and appoint another");
    gate.mint_with("grace", json!({"roles": ["admin"]})).await;
    gate.world.clock.advance(Duration::seconds(61));
    assert_eq!(gate.mint_with("ada", json!({"roles": ["agent"]})).await["roles"], json!(["agent"]));
}

#[tokio::test]
async fn whom_claims_leave_no_role_gets_no_token() {
    let gate = Gate::with(&[SYNC[0], ("FLEXGATE_DEFAULT_ROLES", "none")]).await;
    gate.mint_with("ada", json!({"roles": ["supervisor"]})).await;
    gate.mint_as("ada").await.assert_problem(403, "mint_refused");
}

#[tokio::test]
async fn r92_whom_a_source_holds_inactive_gets_no_token_under_another_name_either() {
    for mode in [&[][..], CREATE, SYNC] {
        let gate = Gate::with(mode).await;
        let ada = gate.world.at_twilio("ada", &["agent"]).await;
        gate.mint_as("ada").await.assert_minted(&ada);
        gate.operator_says_inactive("ada").await;
        // Reactivate ada at Twilio, as an administrator can do in the Console, and bind her identity again.
        gate.world.at_twilio("ada", &["agent"]).await;
        let renamed = json!({"preferred_username": "countess"});
        let bound =
            flexgate::domain::Identity { issuer: gate.world.simulator.issuer().into(), subject: "sub-ada".into() };
        gate.platform.bindings().bind(&bound, &ada.parse().unwrap(), gate.world.clock.now()).await.unwrap();
        let token = gate.token_of("ada", renamed).await;
        gate.mint(&token, json!({})).await.assert_problem(403, "mint_refused");
    }
}

#[tokio::test]
async fn claims_of_a_new_owner_of_the_binding_replace_those_of_the_one_before() {
    let gate = Gate::with(SYNC).await;
    let ada = gate.mint_with("ada", json!({"roles": ["supervisor"]})).await;
    let sid = ada["flex_user_sid"].as_str().unwrap().parse().unwrap();
    gate.platform.bindings().unbind(&sid).await.unwrap();
    // This token is older than the previous owner's last token. Its claims still apply, because the two tokens belong
    // to different people.
    let issued = gate.world.clock.now().unix_timestamp() - 60;
    let token = json!({"sub": "sub-new", "iat": issued, "roles": ["agent"], "name": "Ada Newman"});
    let ada = gate.mint_with("ada", token).await;
    assert_eq!((&ada["roles"], &ada["full_name"]), (&json!(["agent"]), &json!("Ada Newman")));
    gate.mint_as("ada").await.assert_problem(403, "mint_refused");
}
