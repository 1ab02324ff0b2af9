//! Tests the kinds of Twilio credential, and their rotation.

use flexgate::twilio::TwilioError;
use flexgate_simulator::{
    API_KEY_SECRET, API_KEY_SID, FOREIGN_KEY_SECRET, FOREIGN_KEY_SID, RESTRICTED_KEY_SECRET, RESTRICTED_KEY_SID,
};
use serde_json::json;

use crate::{Clients, desired, soon};

async fn rotate(clients: &Clients) -> String {
    clients.world.control("credentials", &json!({})).await["auth_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_api_key_works_like_the_auth_token() {
    let clients = Clients::start().await;
    let account = clients.world.simulator.account().account_sid;
    let key = json!({ "accountSid": account, "apiKeySid": API_KEY_SID, "apiKeySecret": API_KEY_SECRET });
    clients.world.write_secret("twilio", &key);
    assert!(clients.flex.provision(&desired("katherine"), soon()).await.is_ok());
}

#[tokio::test]
async fn keys_that_may_not_are_told_apart_from_keys_that_are_wrong() {
    for (sid, secret, restricted) in
        [(RESTRICTED_KEY_SID, RESTRICTED_KEY_SECRET, true), (FOREIGN_KEY_SID, FOREIGN_KEY_SECRET, false)]
    {
        let clients = Clients::start().await;
        let account = clients.world.simulator.account().account_sid;
        clients
            .world
            .write_secret("twilio", &json!({ "accountSid": account, "apiKeySid": sid, "apiKeySecret": secret }));
        let error = clients.flex.provision(&desired("katherine"), soon()).await.unwrap_err();
        match error {
            TwilioError::PermissionMissing(api) => assert!(restricted && api.code == Some(8001)),
            TwilioError::CredentialRejected(api) => assert!(!restricted && api.code == Some(70051)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_rotated_credential_is_read_again() {
    let clients = Clients::start().await;
    clients.flex.provision(&desired("katherine"), soon()).await.unwrap();
    let token = rotate(&clients).await;
    clients.write_credential("twilio", &token);
    assert!(clients.flex.find(&"katherine".parse().unwrap(), soon()).await.is_ok());
}

#[tokio::test]
async fn while_the_current_one_is_dead_the_pending_one_serves() {
    let clients = Clients::start().await;
    clients.flex.provision(&desired("katherine"), soon()).await.unwrap();
    let token = rotate(&clients).await;
    clients.write_credential("twilio.pending", &token);
    for _ in 0..3 {
        assert!(clients.flex.find(&"katherine".parse().unwrap(), soon()).await.is_ok());
    }
    let rejected = clients.world.journal("Users").await.iter().filter(|request| request["status"] == 401).count();
    assert_eq!(rejected, 1, "the dead one is not tried again");
}

#[tokio::test]
async fn without_a_pending_one_the_refusal_is_ours_not_the_callers() {
    let clients = Clients::start().await;
    rotate(&clients).await;
    let error = clients.flex.find(&"katherine".parse().unwrap(), soon()).await.unwrap_err();
    assert!(matches!(error, TwilioError::CredentialRejected(_)), "{error:?}");
    assert!(error.retry_after().is_some());
}

#[tokio::test]
async fn a_second_rotation_after_a_pending_takeover_is_followed_too() {
    let clients = Clients::start().await;
    clients.flex.provision(&desired("katherine"), soon()).await.unwrap();
    let second = rotate(&clients).await;
    clients.write_credential("twilio.pending", &second);
    assert!(clients.flex.find(&"katherine".parse().unwrap(), soon()).await.is_ok());
    let third = rotate(&clients).await;
    clients.write_credential("twilio.pending", &third);
    // The client may need a few seconds before it can change its credential again. Requests may fail during this time,
    // but after it, a request must succeed.
    let began = tokio::time::Instant::now();
    while let Err(error) = clients.flex.find(&"katherine".parse().unwrap(), soon()).await {
        assert!(began.elapsed() < std::time::Duration::from_mins(1), "{error:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_credential_of_another_account_than_configured_is_not_used() {
    let clients = Clients::start().await;
    let other = json!({ "accountSid": flexgate_simulator::OTHER_ACCOUNT_SID, "authToken": "x" });
    clients.world.write_secret("twilio", &other);
    let error = clients.flex.find(&"katherine".parse().unwrap(), soon()).await.unwrap_err();
    assert!(matches!(error, TwilioError::Foreign), "{error:?}");
    assert!(clients.world.journal("Users").await.is_empty());
}

#[tokio::test]
async fn a_malformed_secret_is_named_and_not_shown() {
    let clients = Clients::start().await;
    for document in
        [json!({ "accountSid": "canary", "authToken": "canary" }), json!({ "authToken": "canary" }), json!("canary")]
    {
        let clients = Clients::start().await;
        clients.world.write_secret("twilio", &document);
        let error = clients.flex.find(&"katherine".parse().unwrap(), soon()).await.unwrap_err();
        let TwilioError::Secret(cause) = error else { panic!("{error:?}") };
        let text = format!("{cause} {cause:?}");
        assert!(text.contains("twilio") && !text.contains("canary"), "{text}");
    }
    drop(clients);
}
