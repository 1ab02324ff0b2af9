//! Tests users who are created just in time: which requests reach Twilio, and how attempts to take over existing users
//! fail.

use flexgate::domain::ledger::{Person, PersonId, Said, Source, Statement};
use flexgate::domain::{EventId, Identity, RoleSet, SubjectId, Username};
use flexgate::store::{PersonKey, SeenUser};
use flexgate_simulator::INSTANCE_SID;
use flexgate_test_support::Reply;
use http::Method;
use serde_json::{Value, json};
use time::Duration;

use crate::gate::{Gate, Minted as _};

const CREATE: &[(&str, &str)] = &[("FLEXGATE_JUST_IN_TIME", "create")];
const SYNC: &[(&str, &str)] = &[("FLEXGATE_JUST_IN_TIME", "create-and-sync")];

impl Gate {
    /// Returns how many `Provision` requests the simulator has received since its list of requests was last cleared.
    async fn provisions(&self) -> usize {
        self.world.calls("flex-api").await.iter().filter(|line| line.ends_with("/Provision")).count()
    }

    pub async fn person(&self, username: &str) -> Option<Person> {
        let key = username.parse::<Username>().unwrap().key();
        self.platform.people().person(&PersonKey::Username(key)).await.unwrap()
    }

    pub fn claims(&self) -> Source {
        Source::Claims(self.world.simulator.issuer().into())
    }

    /// Makes Twilio's searches omit deactivated users. Nobody knows whether the real search omits them, so both cases
    /// need tests.
    async fn hide_deactivated(&self) {
        self.world.switch(&json!({"find_returns_deactivated": false})).await;
    }

    /// Creates a user whose creation time is one hour ago, and deactivates the user directly at Twilio. Returns the
    /// user's SID.
    async fn leaver(&self, username: &str) -> String {
        self.world.shift_simulator(-3_600).await;
        let sid = self.world.at_twilio(username, &["supervisor"]).await;
        self.world.shift_simulator(0).await;
        self.world.deprovision_at_twilio(&sid).await;
        sid
    }
}

#[track_caller]
fn assert_name_taken(answer: &Reply) {
    answer.assert_problem(403, "mint_refused");
    assert!(answer.reason().contains("the username is"), "{}", answer.reason());
}

#[tokio::test]
async fn r78_a_newcomer_costs_the_same_among_a_hundred_users_and_among_twenty_thousand() {
    let mut costs = Vec::new();
    for count in [100, 20_000] {
        let gate = Gate::with(CREATE).await;
        gate.world.ask(Method::POST, "/__sim/users", &json!({"count": count})).await;
        for username in ["ada", "Grace@Example.com"] {
            let token = gate.token_of(username, json!({"email": "newcomer@example.com"})).await;
            gate.world.forget_calls().await;
            let answer = gate.mint(&token, json!({})).await;
            assert_eq!(answer.status, 201, "{:?}", answer.audit());
            let calls = gate.world.ask(Method::GET, "/__sim/calls", &Value::Null).await;
            costs.push(calls["by_operation"].as_object().unwrap().clone());
            costs.last_mut().unwrap().remove("identity_provider");
        }
    }
    let one_each = json!({"find_user": 1, "provision_user": 1, "get_user": 1, "mint_token": 1});
    assert_eq!(Value::from(costs[0].clone()), one_each);
    let mut also_in_lower_case = one_each;
    also_in_lower_case["find_user"] = json!(2);
    assert_eq!(Value::from(costs[1].clone()), also_in_lower_case);
    assert_eq!(costs[..2], costs[2..]);
}

#[tokio::test]
async fn r78_whom_only_the_index_knows_is_neither_brought_back_nor_written_over() {
    let gate = Gate::with(CREATE).await;
    let sid = gate.leaver("ada").await;
    gate.hide_deactivated().await;
    for (username, active) in [("ada", false), ("Ada", true), ("ada", true)] {
        let username: Username = username.parse().unwrap();
        let seen = SeenUser { key: username.key(), username, flex_user_sid: sid.parse().unwrap(), active };
        gate.platform.usernames().put_seen(&[seen], gate.platform.clock_rng.now()).await.unwrap();
        gate.world.forget_calls().await;
        assert_name_taken(&gate.mint_as("ada").await);
        assert_eq!(gate.provisions().await, 0);
    }
}

#[tokio::test]
async fn whoever_flexgate_makes_or_deactivates_is_in_the_index() {
    let gate = Gate::with(CREATE).await;
    gate.mint_as("ada").await;
    let key = "ADA".parse::<Username>().unwrap().key();
    let seen = async || {
        let seen = gate.platform.usernames().seen(&key).await.unwrap();
        seen.iter().map(|user| (user.username.as_str().to_owned(), user.active)).collect::<Vec<_>>()
    };
    assert_eq!(seen().await, [("ada".to_owned(), true)]);
    gate.world.clock.advance(Duration::seconds(1));
    gate.api_says("ada", Some(false), None).await;
    assert_eq!(seen().await, [("ada".to_owned(), false)]);
    // Neither Twilio's search nor a binding shows that the username is in use, but Flexgate's index of usernames does.
    // So Flexgate refuses another person with this username.
    gate.hide_deactivated().await;
    let token = gate.token_of("eve", json!({"preferred_username": "ADA"})).await;
    gate.mint(&token, json!({})).await.assert_problem(403, "mint_refused");
}

#[tokio::test]
async fn m18_a_user_whom_nothing_shows_is_given_back_at_once() {
    let gate = Gate::with(CREATE).await;
    let sid = gate.leaver("ada").await;
    gate.hide_deactivated().await;
    let answer = gate.mint_as("ada").await;
    answer.assert_problem(403, "mint_refused");
    assert!(answer.reason().contains("deactivated again"), "{}", answer.reason());
    assert_eq!(answer.audit()[0]["flex_user_sid"], sid);
    assert_eq!(gate.world.twilio_user("ada").await.unwrap()["deactivated"], true);
    let identity = Identity { issuer: gate.world.simulator.issuer().into(), subject: "sub-ada".into() };
    assert_eq!(gate.platform.bindings().user_of(&identity).await.unwrap(), None);
    let person = gate.person("ada").await.unwrap();
    assert!(person.statements[&gate.claims()].is_silent(), "what is refused leaves nothing behind");
    assert_eq!(person.given.roles, RoleSet::new());

    // Flexgate now knows that the username is in use, and does not try to create the user again.
    gate.world.forget_calls().await;
    for token in [json!({}), json!({"sub": "sub-eve"})] {
        let token = gate.token_of("ada", token).await;
        gate.mint(&token, json!({})).await.assert_problem(403, "mint_refused");
    }
    assert_eq!(gate.provisions().await, 0);
    // When the API reactivates ada, she does not regain the roles that her claims gave her.
    gate.api_says("ada", Some(true), None).await;
    let ada = gate.world.twilio_user("ada").await.unwrap();
    assert_eq!((&ada["deactivated"], &ada["roles"]), (&json!(false), &json!(["agent"])));
}

#[tokio::test]
async fn m18_a_user_whom_nothing_shows_is_given_back_though_the_answer_was_lost() {
    let gate = Gate::with(CREATE).await;
    let sid = gate.leaver("ada").await;
    gate.hide_deactivated().await;
    gate.lose_answers().await;
    gate.mint_as("ada").await.assert_problem(503, "unavailable");
    assert_eq!(gate.world.twilio_user("ada").await.unwrap()["deactivated"], false);
    let answer = gate.mint_as("ada").await;
    answer.assert_problem(403, "mint_refused");
    assert_eq!(answer.audit()[0]["flex_user_sid"], sid);
    assert_eq!(gate.world.twilio_user("ada").await.unwrap()["deactivated"], true);
}

impl Gate {
    /// Makes Twilio create the user, but loses the answers to all three attempts at the request.
    async fn lose_answers(&self) {
        self.world
            .fault(&json!({"service": "flex-api", "path_contains": "Provision", "kind": "lost_response", "times": 3}))
            .await;
    }

    async fn hide_everybody(&self, times: u32) {
        let url = format!("/v4/Instances/{INSTANCE_SID}/Users");
        let fault = json!({"service": "flex-api", "method": "GET", "path_contains": url, "kind": "status", "status": 200,
            "headers": {"content-type": "application/json"}, "body": {"users": []}, "times": times});
        self.world.fault(&fault).await;
    }
}

#[tokio::test]
async fn a_lost_answer_is_healed_by_the_next_mint() {
    for hidden in [false, true] {
        let gate = Gate::with(CREATE).await;
        gate.lose_answers().await;
        let mint = async || {
            let token = gate.token_of("ada", json!({"roles": ["supervisor"]})).await;
            gate.mint(&token, json!({})).await
        };
        mint().await.assert_problem(503, "unavailable");
        let ada = gate.world.twilio_user("ada").await.unwrap();
        // Twenty minutes later, the next mint recognises the user that the failed mint created.
        gate.world.advance(Duration::minutes(20)).await;
        if hidden {
            gate.hide_everybody(2).await;
        }
        mint().await.assert_minted(ada["flex_user_sid"].as_str().unwrap());
        assert_eq!(gate.world.twilio_user("ada").await.unwrap()["roles"], json!(["supervisor"]));
        let person = gate.person("ada").await.unwrap();
        assert_eq!(person.flex_user_sid.unwrap().as_str(), ada["flex_user_sid"], "{hidden}");
        assert_eq!(person.given.asked_since, None);
    }
}

#[tokio::test]
async fn two_first_mints_at_once_in_two_processes_make_one_user_and_one_binding() {
    for round in 0..5 {
        let gate = Gate::with(if round % 2 == 0 { CREATE } else { SYNC }).await;
        let twin = gate.twin().await;
        let token = format!("Bearer {}", gate.token_of("ada", json!({})).await);
        gate.world.forget_calls().await;
        gate.world.fault(&json!({"service": "flex-api", "kind": "delay", "delay_ms": 40, "times": "always"})).await;
        let (authorization, body) = ([token.as_str()], || "{}".to_owned());
        let (here, there) =
            tokio::join!(gate.send_to(&gate.url, &authorization, body()), gate.send_to(&twin, &authorization, body()),);
        let ada = gate.world.twilio_user("ada").await.unwrap();
        for answer in [here, there] {
            answer.assert_minted(ada["flex_user_sid"].as_str().unwrap());
        }
        assert_eq!(gate.provisions().await, 1);
        let identity = Identity { issuer: gate.world.simulator.issuer().into(), subject: "sub-ada".into() };
        let bound = gate.platform.bindings().user_of(&identity).await.unwrap();
        assert_eq!(bound.unwrap().as_str(), ada["flex_user_sid"]);
    }
}

#[tokio::test]
async fn two_subjects_at_once_do_not_share_the_user_of_their_common_name() {
    let gate = Gate::with(CREATE).await;
    let twin = gate.twin().await;
    let ada = format!("Bearer {}", gate.token_of("ada", json!({})).await);
    let eve = format!("Bearer {}", gate.token_of("ada", json!({"sub": "sub-eve"})).await);
    gate.world.fault(&json!({"service": "flex-api", "kind": "delay", "delay_ms": 40, "times": "always"})).await;
    let (ada, eve) = ([ada.as_str()], [eve.as_str()]);
    let (here, there) =
        tokio::join!(gate.send_to(&gate.url, &ada, "{}".to_owned()), gate.send_to(&twin, &eve, "{}".to_owned()));
    let mut statuses = [here.status.as_u16(), there.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 403]);
}

#[tokio::test]
async fn a_leaver_whom_a_source_holds_inactive_is_not_made_again() {
    for (says, mode) in [(true, CREATE), (true, SYNC), (false, CREATE)] {
        let gate = Gate::with(mode).await;
        if says {
            gate.api_says("ada", Some(true), None).await;
        }
        // An operator says that ada is inactive. After this statement, no mint may create or activate her Flex user. In
        // the last round of the loop, she has no Flex user yet.
        gate.operator_says_inactive("ada").await;
        gate.hide_deactivated().await;
        gate.world.forget_calls().await;
        for username in ["ada", "ADA"] {
            gate.mint_as(username).await.assert_problem(403, "mint_refused");
        }
        assert_eq!(gate.provisions().await, 0);
        assert!(gate.world.twilio_user("ada").await.is_none_or(|ada| ada["deactivated"] == true));
    }
}

#[tokio::test]
async fn a_newcomer_who_narrows_the_token_is_made_with_no_more() {
    let gate = Gate::with(CREATE).await;
    let token = gate.token_of("ada", json!({"roles": ["agent", "supervisor"]})).await;
    let answer = gate.mint(&token, json!({"roles": ["agent"]})).await;
    assert_eq!(answer.status, 201, "{:?}", answer.audit());
    assert_eq!(gate.world.twilio_user("ada").await.unwrap()["roles"], json!(["agent"]));
}

#[tokio::test]
async fn a_newcomer_is_made_although_twilio_leaves_out_dates() {
    let gate = Gate::with(CREATE).await;
    gate.world.switch(&json!({"sparse_responses": true})).await;
    let answer = gate.mint_as("ada").await;
    assert_eq!(answer.status, 201, "{:?}", answer.audit());
    gate.leaver("grace").await;
    gate.hide_deactivated().await;
    gate.mint_as("grace").await.assert_problem(403, "mint_refused");
    assert_eq!(gate.world.twilio_user("grace").await.unwrap()["deactivated"], true);
}

#[tokio::test]
async fn whom_a_source_calls_active_but_flex_does_not_have_is_made_as_all_sources_say() {
    let gate = Gate::with(CREATE).await;
    let id = EventId::from(1);
    let mut person = Person::new(PersonId::of([1; 16]), "ada".parse().unwrap());
    let now = gate.platform.clock_rng.now();
    let statement = Statement {
        roles: Some(Said::new(now, &id, ["supervisor".into()].into())),
        active: Some(Said::access(now, &id, true)),
        ..Statement::default()
    };
    person.statements.insert(Source::Api, statement);
    gate.platform.people().add(&person, None).await.unwrap();
    let token = gate.token_of("ada", json!({"roles": ["agent"]})).await;
    let answer = gate.mint(&token, json!({})).await;
    let ada = gate.world.twilio_user("ada").await.unwrap();
    answer.assert_minted(ada["flex_user_sid"].as_str().unwrap());
    assert_eq!(ada["roles"], json!(["agent", "supervisor"]));
    let subject: SubjectId = "sub-ada".parse().unwrap();
    assert_eq!(gate.person("ada").await.unwrap().subjects[&gate.claims()], subject);
}
