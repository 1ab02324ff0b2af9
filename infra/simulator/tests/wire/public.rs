//! Tests what the SDK requests besides sign-in and workers: the public configuration and the GraphQL channel.

use crate::common::{Sim, sim};
use flexgate_simulator::*;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

async fn token(sim: &Sim) -> String {
    let user = sim.provision("ada", &["agent"]).await;
    sim.mint(user["flex_user_sid"].as_str().unwrap()).await["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_public_configuration_is_found_by_account_or_runtime_domain() {
    let sim = sim().await;
    let ask = async |query: String| {
        let (status, answer) =
            sim.send(sim.http.get(sim.at(&format!("/flex-api/v1/Configuration/Public?{query}")))).await;
        (status.as_u16(), answer["configurations"].clone())
    };
    let ours = json!([{ "account_sid": ACCOUNT_SID, "runtime_domain": RUNTIME_DOMAIN, "public_attributes": { "loginPopup": false } }]);
    assert_eq!(ask(format!("AccountSid={ACCOUNT_SID}")).await, (200, ours.clone()));
    assert_eq!(ask("RuntimeDomain=simulated-1234.twil.io".to_owned()).await, (200, ours));
    assert_eq!(ask(format!("AccountSid={OTHER_ACCOUNT_SID}")).await, (200, json!([])));
    assert_eq!(ask("RuntimeDomain=other-1.twil.io".to_owned()).await, (200, json!([])));
    assert_eq!(ask(String::new()).await.0, 400);
}

#[tokio::test]
async fn a_graphql_query_needs_a_token_and_gets_a_graphql_error() {
    let sim = sim().await;
    let token = token(&sim).await;
    let url = sim.at("/preview/Flex/graphql");
    let post = |token: &str, body: Value| sim.send(sim.http.post(&url).basic_auth("token", Some(token)).json(&body));
    let (status, answer) = post(&token, json!({ "query": "{ x }" })).await;
    assert_eq!((status.as_u16(), &answer["data"]), (200, &Value::Null));
    assert!(answer["errors"][0]["message"].is_string(), "{answer}");
    let request = sim.http.get(&url).query(&[("query", "{ x }")]).basic_auth("token", Some(&token));
    assert_eq!(sim.send(request).await.0, 200);
    assert_eq!(post(&token, json!({})).await.0, 400);
    assert_eq!(post("a.b.c.d.e", json!({ "query": "{ x }" })).await.0, 401);
    assert_eq!(sim.send(sim.http.get(&url).query(&[("query", "{ x }")])).await.0, 401);
}

#[tokio::test]
async fn the_subscription_channel_speaks_graphql_transport_ws() {
    let sim = sim().await;
    let token = token(&sim).await;
    let url = sim.at("/event-bridge/graphql-subscriptions").replace("http://localhost", "ws://127.0.0.1");
    let open = async || {
        let mut request = url.as_str().into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        tokio_tungstenite::connect_async(request).await.unwrap()
    };
    let init = |token: &str| {
        Message::text(
            json!({ "type": "connection_init", "payload": { "authToken": format!("Bearer {token}") } }).to_string(),
        )
    };
    let (mut socket, response) = open().await;
    assert_eq!(response.headers()["sec-websocket-protocol"], "graphql-transport-ws");
    socket.send(init(&token)).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(r#"{"type":"connection_ack"}"#));
    for message in [
        json!({ "type": "subscribe", "id": "1", "payload": { "query": "subscription { x }" } }),
        json!({ "type": "ping" }),
    ] {
        socket.send(Message::text(message.to_string())).await.unwrap();
    }
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(r#"{"type":"pong"}"#));

    let refused = [
        (init("a.b.c.d.e"), 4403),
        (Message::text(r#"{"type":"subscribe","id":"1"}"#), 4401),
        (Message::text(r#"{"type":"x"}"#), 4400),
        (Message::text("x"), 4400),
    ];
    for (message, code) in refused {
        let (mut socket, _) = open().await;
        socket.send(message).await.unwrap();
        let closed = socket.next().await.unwrap().unwrap();
        assert!(matches!(&closed, Message::Close(Some(frame)) if u16::from(frame.code) == code), "{code}: {closed:?}");
    }
}
