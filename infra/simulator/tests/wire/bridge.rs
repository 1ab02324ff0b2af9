//! Tests that the simulated event bridge offers everything that the real SDK's `getWorker()` needs.

use crate::common::{Sim, sim};
use flexgate_simulator::*;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

pub(crate) async fn token(sim: &Sim) -> (String, String) {
    let user = sim.provision("ada", &["agent"]).await;
    let minted = sim.mint(user["flex_user_sid"].as_str().unwrap()).await;
    (user["worker"]["worker_sid"].as_str().unwrap().to_owned(), minted["access_token"].as_str().unwrap().to_owned())
}

pub(crate) fn socket_url(sim: &Sim, token: &str) -> String {
    let base = sim.at("/event-bridge/v1/wschannels").replace("http://localhost", "ws://127.0.0.1");
    format!("{base}?token={token}&closeExistingSessions=false&clientVersion=2.1.1&setWorkerOfflineIfDisconnected=true")
}

pub(crate) async fn next_event<S>(socket: &mut S) -> Value
where
    S: futures_util::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    loop {
        let text = socket.next().await.unwrap().unwrap().into_text().unwrap();
        if !text.trim().is_empty() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

#[tokio::test]
async fn the_websocket_says_init_and_then_what_happens_to_the_worker() {
    let sim = sim().await;
    let (worker, token) = token(&sim).await;
    let (mut socket, _) = tokio_tungstenite::connect_async(socket_url(&sim, &token)).await.unwrap();
    let init = next_event(&mut socket).await;
    assert_eq!(init["event_type"], "init");
    assert_eq!(
        (&init["payload"]["channel_id"], &init["payload"]["workspace_sid"]),
        (&json!(worker), &json!(WORKSPACE_SID))
    );
    assert!(init["payload"]["token_lifetime"].as_i64().unwrap() > 3_590_000);

    let bridge = sim.at("/event-bridge/v1/wschannels");
    let url = format!("Workspaces/{WORKSPACE_SID}/Workers/{worker}");
    let call = |method: &'static str, url: String, params: Value| {
        let body = json!({ "url": url, "method": method, "params": params, "token": token }).to_string();
        sim.send(sim.http.post(&bridge).header("content-type", "application/x-www-form-urlencoded").body(body))
    };
    let (status, read) = call("GET", url.clone(), json!({})).await;
    assert_eq!((status.as_u16(), &read["payload"]["activity_name"]), (200, &json!("Offline")));
    let (_, activities) =
        call("GET", format!("Workspaces/{WORKSPACE_SID}/Activities"), json!({ "PageSize": 1000 })).await;
    let available = activities["payload"]["contents"][1]["sid"].clone();
    let (status, changed) = call("POST", url.clone(), json!({ "ActivitySid": available })).await;
    assert_eq!((status.as_u16(), &changed["payload"]["available"]), (200, &json!(true)));
    let event = next_event(&mut socket).await;
    assert_eq!(
        (&event["event_type"], &event["payload"]["activity_sid"]),
        (&json!("worker.activity.update"), &available)
    );
    let (_, empty) = call("GET", format!("{url}/Reservations"), json!({})).await;
    assert_eq!(empty["payload"], json!({ "contents": [], "after_sid": null, "total": 0 }));

    socket.close(None).await.unwrap();
    let offline = async {
        while call("GET", url.clone(), json!({})).await.1["payload"]["activity_name"] != "Offline" {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), offline).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_closes_open_websockets() {
    let sim = sim().await;
    let (_, token) = token(&sim).await;
    let (mut socket, _) = tokio_tungstenite::connect_async(socket_url(&sim, &token)).await.unwrap();
    next_event(&mut socket).await;
    let (closing, message) = tokio::join!(sim.simulator.shutdown(), socket.next());
    assert_eq!(closing, ());
    assert!(matches!(message, Some(Ok(Message::Close(_)))), "{message:?}");
}

#[tokio::test]
async fn the_websocket_refuses_a_token_that_is_not_good() {
    let sim = sim().await;
    let (_, token) = token(&sim).await;
    assert!(tokio_tungstenite::connect_async(socket_url(&sim, "a..b.c.d")).await.is_err());
    sim.control("clock", json!({ "offset_seconds": 4000 })).await;
    assert!(tokio_tungstenite::connect_async(socket_url(&sim, &token)).await.is_err());
}
