//! What each operation sends and understands, with Twilio well, in every shape its answers may take.

use flexgate::base::clock_rng::ClockRng;
use flexgate::domain::{Role, TokenTtl, WorkerAttributes};
use flexgate::twilio::TwilioError;
use flexgate_simulator::{Deactivated, Reactivation};
use secrecy::SecretString;
use serde_json::json;

use crate::{World, desired, soon};

#[tokio::test]
async fn a_user_is_provisioned_found_read_listed_and_deprovisioned() {
    let world = World::start().await;
    let user = world.flex.provision(&desired("katherine"), soon()).await.unwrap();
    assert_eq!(user.username.as_str(), "katherine");
    assert_eq!(user.roles.as_ref().unwrap().names(), ["agent"]);
    assert!(user.worker_sid.is_some() && user.is_complete() && !user.is_deactivated());

    let found = world.flex.find(&"katherine".parse().unwrap(), soon()).await.unwrap().unwrap();
    assert_eq!(found.flex_user_sid, user.flex_user_sid);
    let read = world.flex.get(&user.flex_user_sid, soon()).await.unwrap();
    assert_eq!((read.email.as_deref(), read.worker_sid), (Some("katherine@example.com"), user.worker_sid.clone()));

    world.flex.deprovision(&user.flex_user_sid, soon()).await.unwrap();
    let read = world.flex.get(&user.flex_user_sid, soon()).await.unwrap();
    assert!(read.is_deactivated() && read.worker_sid.is_none());
}

#[tokio::test]
async fn provisioning_again_updates_and_sends_what_was_asked() {
    let world = World::start().await;
    let first = world.flex.provision(&desired("katherine"), soon()).await.unwrap();
    let mut changed = desired("katherine");
    changed.roles = [Role::Agent, Role::Supervisor].into();
    let attributes = json!({ "language.string": "en", "channel.voice.capacity": 2 });
    changed.worker_attributes = Some(WorkerAttributes::try_from(attributes.as_object().unwrap().clone()).unwrap());
    let second = world.flex.provision(&changed, soon()).await.unwrap();
    assert_eq!(second.flex_user_sid, first.flex_user_sid);
    assert_eq!(second.roles.unwrap().names(), ["agent", "supervisor"]);
    let sent = world.journal("Users/Provision").await;
    let body = sent[1]["body"].to_string();
    for part in ["language.string", "channel.voice.capacity", "supervisor"] {
        assert!(body.contains(part), "{body}");
    }
}

#[tokio::test]
async fn usernames_that_need_encoding_are_found() {
    let world = World::start().await;
    for name in ["ada+test@example.com", "Zoë Müller", "a/b?c=d&e#f", "100%"] {
        let user = world.flex.provision(&desired(name), soon()).await.unwrap();
        let found = world.flex.find(&name.parse().unwrap(), soon()).await.unwrap().unwrap();
        assert_eq!(found.flex_user_sid, user.flex_user_sid, "{name}");
    }
}

#[tokio::test]
async fn an_unknown_user_is_none_by_name_and_an_error_by_sid() {
    let world = World::start().await;
    assert_eq!(world.flex.find(&"nobody".parse().unwrap(), soon()).await.unwrap(), None);
    let sid = format!("FU{}", "0".repeat(32)).parse().unwrap();
    assert!(matches!(world.flex.get(&sid, soon()).await, Err(TwilioError::NotFound(_))));
    assert!(matches!(world.flex.deprovision(&sid, soon()).await, Err(TwilioError::NotFound(_))));
    assert!(matches!(world.flex.mint(&sid, TokenTtl::DEFAULT, soon()).await, Err(TwilioError::NotFound(_))));
}

#[tokio::test]
async fn a_name_that_differs_in_case_only_is_another_user() {
    let world = World::start().await;
    world.flex.provision(&desired("Katherine"), soon()).await.unwrap();
    for case_sensitive in [true, false] {
        world.simulator.switch(|switches| switches.find_case_sensitive = case_sensitive);
        assert_eq!(world.flex.find(&"katherine".parse().unwrap(), soon()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn two_users_of_one_name_are_an_error() {
    let world = World::start().await;
    world.flex.provision(&desired("katherine"), soon()).await.unwrap();
    world.simulator.switch(|switches| switches.find_returns_two = true);
    let found = world.flex.find(&"katherine".parse().unwrap(), soon()).await;
    assert!(matches!(found, Err(TwilioError::Ambiguous)), "{found:?}");
}

#[tokio::test]
async fn answers_that_leave_fields_out_are_understood() {
    let world = World::start().await;
    world.flex.provision(&desired("katherine"), soon()).await.unwrap();
    world.simulator.switch(|switches| switches.sparse_responses = true);
    let found = world.flex.find(&"katherine".parse().unwrap(), soon()).await.unwrap().unwrap();
    assert!(!found.is_complete() && !found.is_deactivated() && !found.is_active(), "what is not said is not known");
}

#[tokio::test]
async fn every_page_of_the_list_is_reached_and_no_user_twice() {
    let world = World::start().await;
    for index in 0..25 {
        world.flex.provision(&desired(&format!("user{index}")), soon()).await.unwrap();
    }
    let (mut seen, mut token, mut pages) = (std::collections::BTreeSet::new(), None, 0);
    loop {
        let page = world.flex.list(10, token.as_deref(), soon()).await.unwrap();
        pages += 1;
        for user in page.users {
            assert!(seen.insert(user.username.as_str().to_owned()));
        }
        match page.next_page_token {
            Some(next) => token = Some(next),
            None => break,
        }
    }
    assert_eq!((seen.len(), pages), (25, 3));
}

#[tokio::test]
async fn a_minted_token_is_good_and_says_whose_it_is() {
    let world = World::start().await;
    let user = world.flex.provision(&desired("katherine"), soon()).await.unwrap();
    for status in [200, 201] {
        world.simulator.switch(|switches| switches.mint_status = status);
        let minted = world.flex.mint(&user.flex_user_sid, TokenTtl::from_seconds(600).unwrap(), soon()).await.unwrap();
        assert_eq!(minted.info.flex_user_sid, user.flex_user_sid);
        let info = world.sso.token_info(&minted.access_token, soon()).await.unwrap();
        assert_eq!(info.flex_user_sid, user.flex_user_sid);
        assert_eq!(info.worker_sid, user.worker_sid);
        let lasts = (info.expiration - ClockRng::system().now()).whole_seconds();
        assert!((590..=601).contains(&lasts), "{lasts}");
    }
    let garbage = world.sso.token_info(&SecretString::from("garbage"), soon()).await;
    assert!(matches!(garbage, Err(TwilioError::Refused(_))), "{garbage:?}");
}

#[tokio::test]
async fn whatever_twilio_does_with_the_deactivated_is_survived() {
    let world = World::start().await;
    for reactivation in [Reactivation::SameSid, Reactivation::NewSid, Reactivation::StaysDeactivated] {
        world.simulator.switch(|switches| {
            switches.provision_reactivates = reactivation;
            switches.mint_deactivated = Deactivated::Reject;
        });
        let name = format!("user-{reactivation:?}");
        let user = world.flex.provision(&desired(&name), soon()).await.unwrap();
        world.flex.deprovision(&user.flex_user_sid, soon()).await.unwrap();
        world.flex.deprovision(&user.flex_user_sid, soon()).await.unwrap();
        let refused = world.flex.mint(&user.flex_user_sid, TokenTtl::DEFAULT, soon()).await;
        assert!(refused.is_err());
        let again = world.flex.provision(&desired(&name), soon()).await.unwrap();
        assert_eq!(again.is_deactivated(), matches!(reactivation, Reactivation::StaysDeactivated), "{reactivation:?}");
    }
}

#[tokio::test]
async fn the_instance_is_discovered_from_the_credential() {
    let world = World::start().await;
    let instance = world.flex.discover(soon()).await.unwrap();
    assert_eq!(instance.instance_sid, *world.flex.instance());
    assert_eq!(instance.account_sid, *world.flex.account());
    assert!(instance.workspace_sid.is_some() && instance.runtime_domain.is_some());
}

#[tokio::test]
async fn the_active_configuration_is_found_among_others() {
    let world = World::start().await;
    let profile = world.simulator.account().sso_profile_sid.parse().unwrap();
    world.simulator.switch(|switches| switches.config_inactive_first = true);
    let configuration = world.sso.configuration(&profile, soon()).await.unwrap().unwrap();
    assert_eq!(configuration.connection_name, profile);
    let request = &world.journal("Authentication/Config").await[0];
    for name in ["AccountSid", "FlexInstanceSid", "RuntimeDomain", "SSOProfileSid", "AppType"] {
        assert!(request["query"].get(name).is_some(), "{name} is missing, as the SDK never lets it");
    }
    let unknown = format!("JQ{}", "9".repeat(32)).parse().unwrap();
    assert_eq!(world.sso.configuration(&unknown, soon()).await.unwrap(), None);
}
