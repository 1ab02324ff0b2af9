//! Tests each operation while Twilio has no faults: the request, and every form of the answer.

use flexgate::base::clock_rng::ClockRng;
use flexgate::domain::{Role, TokenTtl, WorkerAttributes};
use flexgate::twilio::TwilioError;
use flexgate_simulator::{Deactivated, FindCase, MintStatus, Reactivation, SparseResponses};
use secrecy::SecretString;
use serde_json::json;

use crate::{Clients, desired, soon};

#[tokio::test]
async fn a_user_is_provisioned_found_read_listed_and_deprovisioned() {
    let clients = Clients::start().await;
    let user = clients.flex.provision(&desired("katherine"), soon()).await.unwrap();
    assert_eq!(user.username.as_str(), "katherine");
    assert_eq!(user.roles.as_ref().unwrap().names(), ["agent"]);
    assert!(user.worker_sid.is_some() && user.is_complete() && !user.is_deactivated());

    let found = clients.flex.find(&"katherine".parse().unwrap(), soon()).await.unwrap().unwrap();
    assert_eq!(found.flex_user_sid, user.flex_user_sid);
    let read = clients.flex.get(&user.flex_user_sid, soon()).await.unwrap();
    assert_eq!((read.email.as_deref(), read.worker_sid), (Some("katherine@example.com"), user.worker_sid.clone()));

    clients.flex.deprovision(&user.flex_user_sid, soon()).await.unwrap();
    let read = clients.flex.get(&user.flex_user_sid, soon()).await.unwrap();
    assert!(read.is_deactivated() && read.worker_sid.is_none());
}

#[tokio::test]
async fn provisioning_again_updates_and_sends_what_was_asked() {
    let clients = Clients::start().await;
    let first = clients.flex.provision(&desired("katherine"), soon()).await.unwrap();
    let mut changed = desired("katherine");
    changed.roles = [Role::Agent, Role::Supervisor].into();
    let attributes = json!({ "language.string": "en", "channel.voice.capacity": 2 });
    changed.worker_attributes = Some(WorkerAttributes::try_from(attributes.as_object().unwrap().clone()).unwrap());
    let second = clients.flex.provision(&changed, soon()).await.unwrap();
    assert_eq!(second.flex_user_sid, first.flex_user_sid);
    assert_eq!(second.roles.unwrap().names(), ["agent", "supervisor"]);
    let sent = clients.world.journal("Users/Provision").await;
    let body = sent[1]["body"].to_string();
    for part in ["language.string", "channel.voice.capacity", "supervisor"] {
        assert!(body.contains(part), "{body}");
    }
}

#[tokio::test]
async fn usernames_that_need_encoding_are_found() {
    let clients = Clients::start().await;
    for name in ["ada+test@example.com", "Zoë Müller", "a/b?c=d&e#f", "100%"] {
        let user = clients.flex.provision(&desired(name), soon()).await.unwrap();
        let found = clients.flex.find(&name.parse().unwrap(), soon()).await.unwrap().unwrap();
        assert_eq!(found.flex_user_sid, user.flex_user_sid, "{name}");
    }
}

#[tokio::test]
async fn an_unknown_user_is_none_by_name_and_an_error_by_sid() {
    let clients = Clients::start().await;
    assert_eq!(clients.flex.find(&"nobody".parse().unwrap(), soon()).await.unwrap(), None);
    let sid = format!("FU{}", "0".repeat(32)).parse().unwrap();
    assert!(matches!(clients.flex.get(&sid, soon()).await, Err(TwilioError::NotFound(_))));
    assert!(matches!(clients.flex.deprovision(&sid, soon()).await, Err(TwilioError::NotFound(_))));
    assert!(matches!(clients.flex.mint(&sid, TokenTtl::DEFAULT, soon()).await, Err(TwilioError::NotFound(_))));
}

#[tokio::test]
async fn a_name_that_differs_in_case_only_is_another_user() {
    let clients = Clients::start().await;
    clients.flex.provision(&desired("Katherine"), soon()).await.unwrap();
    for case in [FindCase::Sensitive, FindCase::Insensitive] {
        clients.world.simulator.switch(|switches| switches.find_case_sensitive = case);
        assert_eq!(clients.flex.find(&"katherine".parse().unwrap(), soon()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn two_users_of_one_name_are_an_error() {
    let clients = Clients::start().await;
    clients.flex.provision(&desired("katherine"), soon()).await.unwrap();
    clients.world.simulator.switch(|switches| switches.find_returns_two = true);
    let found = clients.flex.find(&"katherine".parse().unwrap(), soon()).await;
    assert!(matches!(found, Err(TwilioError::Ambiguous)), "{found:?}");
}

#[tokio::test]
async fn answers_that_leave_fields_out_are_understood() {
    let clients = Clients::start().await;
    clients.flex.provision(&desired("katherine"), soon()).await.unwrap();
    clients.world.simulator.switch(|switches| switches.sparse_responses = SparseResponses::Sparse);
    let found = clients.flex.find(&"katherine".parse().unwrap(), soon()).await.unwrap().unwrap();
    assert!(!found.is_complete() && !found.is_deactivated() && !found.is_active(), "what is not said is not known");
}

#[tokio::test]
async fn every_page_of_the_list_is_reached_and_no_user_twice() {
    let clients = Clients::start().await;
    for index in 0..25 {
        clients.flex.provision(&desired(&format!("user{index}")), soon()).await.unwrap();
    }
    let (mut seen, mut token, mut pages) = (std::collections::BTreeSet::new(), None, 0);
    loop {
        let page = clients.flex.list(10, token.as_deref(), soon()).await.unwrap();
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
    let clients = Clients::start().await;
    let user = clients.flex.provision(&desired("katherine"), soon()).await.unwrap();
    for status in [MintStatus::Ok, MintStatus::Created] {
        clients.world.simulator.switch(|switches| switches.mint_status = status);
        let minted =
            clients.flex.mint(&user.flex_user_sid, TokenTtl::from_seconds(600).unwrap(), soon()).await.unwrap();
        assert_eq!(minted.info.flex_user_sid, user.flex_user_sid);
        let info = clients.sso.token_info(&minted.access_token, soon()).await.unwrap();
        assert_eq!(info.flex_user_sid, user.flex_user_sid);
        assert_eq!(info.worker_sid, user.worker_sid);
        let lasts = (info.expiration - ClockRng::system().now()).whole_seconds();
        assert!((590..=601).contains(&lasts), "{lasts}");
    }
    let garbage = clients.sso.token_info(&SecretString::from("garbage"), soon()).await;
    assert!(matches!(garbage, Err(TwilioError::Refused(_))), "{garbage:?}");
}

#[tokio::test]
async fn whatever_twilio_does_with_the_deactivated_is_survived() {
    let clients = Clients::start().await;
    for reactivation in [Reactivation::SameSid, Reactivation::NewSid, Reactivation::StaysDeactivated] {
        clients.world.simulator.switch(|switches| {
            switches.provision_reactivates = reactivation;
            switches.mint_deactivated = Deactivated::Reject;
        });
        let name = format!("user-{reactivation:?}");
        let user = clients.flex.provision(&desired(&name), soon()).await.unwrap();
        clients.flex.deprovision(&user.flex_user_sid, soon()).await.unwrap();
        clients.flex.deprovision(&user.flex_user_sid, soon()).await.unwrap();
        let refused = clients.flex.mint(&user.flex_user_sid, TokenTtl::DEFAULT, soon()).await;
        assert!(refused.is_err());
        let again = clients.flex.provision(&desired(&name), soon()).await.unwrap();
        assert_eq!(again.is_deactivated(), matches!(reactivation, Reactivation::StaysDeactivated), "{reactivation:?}");
    }
}

#[tokio::test]
async fn the_instance_is_discovered_from_the_credential() {
    let clients = Clients::start().await;
    let instance = clients.flex.discover(soon()).await.unwrap();
    assert_eq!(instance.instance_sid, *clients.flex.instance());
    assert_eq!(instance.account_sid, *clients.flex.account());
    assert!(instance.workspace_sid.is_some() && instance.runtime_domain.is_some());
}

#[tokio::test]
async fn the_active_configuration_is_found_among_others() {
    let clients = Clients::start().await;
    let profile = clients.world.simulator.account().sso_profile_sid.parse().unwrap();
    clients.world.simulator.switch(|switches| switches.config_inactive_first = true);
    let configuration = clients.sso.configuration(&profile, soon()).await.unwrap().unwrap();
    assert_eq!(configuration.connection_name, profile);
    let request = &clients.world.journal("Authentication/Config").await[0];
    for name in ["AccountSid", "FlexInstanceSid", "RuntimeDomain", "SSOProfileSid", "AppType"] {
        assert!(request["query"].get(name).is_some(), "{name} is missing, as the SDK never lets it");
    }
    let unknown = format!("JQ{}", "9".repeat(32)).parse().unwrap();
    assert_eq!(clients.sso.configuration(&unknown, soon()).await.unwrap(), None);
}
