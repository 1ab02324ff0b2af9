//! Tests the tasks that the control API offers, with the requests and events of the real SDK.

use std::time::Duration;

use crate::bridge::{next_event, socket_url, token};
use crate::common::{Sim, sim};
use flexgate_simulator::*;
use futures_util::Stream;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error, Message};

/// An available worker with an open websocket.
struct Desk<S> {
    sim: Sim,
    worker: String,
    token: String,
    socket: S,
}

async fn desk() -> Desk<impl Stream<Item = Result<Message, Error>> + Unpin> {
    let sim = sim().await;
    let (worker, token) = token(&sim).await;
    let (mut socket, _) = tokio_tungstenite::connect_async(socket_url(&sim, &token)).await.unwrap();
    assert_eq!(next_event(&mut socket).await["event_type"], "init");
    let mut desk = Desk { sim, worker, token, socket };
    let available = json!({ "ActivitySid": "WA00000000000000000000000000000002" });
    assert_eq!(desk.worker_request("POST", "", available).await.0, 200);
    assert_eq!(desk.event().await.0, "worker.activity.update");
    desk
}

impl<S: Stream<Item = Result<Message, Error>> + Unpin> Desk<S> {
    async fn request(&self, method: &str, url: &str, params: Value) -> (u16, Value) {
        let body = json!({ "url": url, "method": method, "params": params, "token": self.token }).to_string();
        let (status, answer) =
            self.sim.send(self.sim.http.post(self.sim.at("/event-bridge/v1/wschannels")).body(body)).await;
        (status.as_u16(), answer["payload"].clone())
    }

    async fn worker_request(&self, method: &str, rest: &str, params: Value) -> (u16, Value) {
        let url = format!("Workspaces/{WORKSPACE_SID}/Workers/{}{rest}", self.worker);
        self.request(method, &url, params).await
    }

    async fn reservation_request(&self, reservation: &Value, params: Value) -> (u16, Value) {
        let rest = format!("/Reservations/{}", reservation["sid"].as_str().unwrap());
        self.worker_request("POST", &rest, params).await
    }

    async fn event(&mut self) -> (String, Value) {
        let event = tokio::time::timeout(Duration::from_mins(1), next_event(&mut self.socket)).await.unwrap();
        (event["event_type"].as_str().unwrap().to_owned(), event["payload"].clone())
    }

    /// Offers a task, and returns the reservation from the event.
    async fn offered(&mut self, offer: Value) -> Value {
        let offered = self.sim.control("tasks", offer).await;
        let (event, reservation) = self.event().await;
        assert_eq!((event.as_str(), &reservation), ("reservation.created", &offered));
        reservation
    }

    /// Offers a call and accepts it. Returns the accepted reservation.
    async fn call(&mut self) -> Value {
        let reservation = self.offered(json!({ "username": "ada" })).await;
        let conference = json!({ "Instruction": "conference", "To": "client:ada", "EndConferenceOnExit": true });
        assert_eq!(self.reservation_request(&reservation, conference).await.0, 200);
        let (event, accepted) = self.event().await;
        assert_eq!((event.as_str(), &accepted["reservation_status"]), ("reservation.accepted", &json!("accepted")));
        accepted
    }
}

fn interaction(reservation: &Value) -> String {
    reservation["task"]["sid"].as_str().unwrap().replace("WT", "v1/Interactions/KD")
}

fn hold(reservation: &Value, hold: bool) -> Value {
    json!({ "TaskSid": reservation["task"]["sid"], "Hold": hold, "HoldMethod": "GET" })
}

#[tokio::test]
async fn a_task_that_is_no_call_is_accepted_wrapped_up_and_completed() {
    let mut desk = desk().await;
    let offer = json!({ "username": "ada", "channel": "default", "attributes": { "name": "Order 7" } });
    let reservation = desk.offered(offer).await;
    assert_eq!(reservation["task"]["attributes"], r#"{"name":"Order 7"}"#);
    for (status, events) in [
        ("accepted", &["reservation.accepted"][..]),
        ("wrapping", &["reservation.wrapup", "task.wrapup"]),
        ("completed", &["reservation.completed", "task.completed"]),
    ] {
        let (_, active) = desk.worker_request("GET", "/Reservations", json!({ "Active": "true" })).await;
        assert_eq!((&active["total"], &active["contents"][0]["sid"]), (&json!(1), &reservation["sid"]));
        let (code, answer) = desk.reservation_request(&reservation, json!({ "ReservationStatus": status })).await;
        assert_eq!((code, &answer["reservation_status"], answer.get("task")), (200, &json!(status), None));
        for expected in events {
            assert_eq!(desk.event().await.0, *expected);
        }
    }
    let (_, active) = desk.worker_request("GET", "/Reservations", json!({ "Active": "true" })).await;
    assert_eq!(active, json!({ "contents": [], "after_sid": null, "total": 0 }));
}

#[tokio::test]
async fn a_rejected_task_is_over() {
    let mut desk = desk().await;
    let reservation = desk.offered(json!({ "username": "ada" })).await;
    let reject = json!({ "ReservationStatus": "rejected" });
    assert_eq!(desk.reservation_request(&reservation, reject).await.0, 200);
    assert_eq!(desk.event().await.0, "reservation.rejected");
    for status in ["accepted", "wrapping", "completed"] {
        let again = json!({ "ReservationStatus": status });
        assert_eq!(desk.reservation_request(&reservation, again).await.0, 400, "{status}");
    }
}

#[tokio::test]
async fn a_call_is_held_and_resumed_and_its_end_begins_the_wrap_up() {
    let mut desk = desk().await;
    let call = desk.call().await;
    let attributes: Value = serde_json::from_str(call["task"]["attributes"].as_str().unwrap()).unwrap();
    assert!(attributes["conference"]["participants"]["worker"].as_str().unwrap().starts_with("CA"), "{attributes}");

    let (_, channels) = desk.request("GET", &format!("{}/Channels", interaction(&call)), json!({})).await;
    let channel = &channels["channels"][0];
    assert_eq!((&channel["type"], &channel["status"]), (&json!("voice"), &json!("active")));
    let channel = format!("{}/Channels/{}", interaction(&call), channel["sid"].as_str().unwrap());
    let participants =
        async |desk: &Desk<_>| desk.request("GET", &format!("{channel}/Participants"), json!({})).await.1;
    let seen = participants(&desk).await;
    let types: Vec<_> = seen["participants"].as_array().unwrap().iter().map(|one| one["type"].clone()).collect();
    assert_eq!((&seen["channel_type"], types), (&json!("voice"), vec![json!("customer"), json!("agent")]));

    for on_hold in [true, false] {
        let (status, task) = desk.worker_request("POST", "/CustomerParticipant", hold(&call, on_hold)).await;
        assert_eq!((status, &task["sid"]), (200, &call["task"]["sid"]));
        let (event, modified) = desk.event().await;
        let expected = json!([on_hold.to_string()]);
        assert_eq!((event.as_str(), &modified["media_properties"]["hold"]), ("participant.modified", &expected));
        assert_eq!(modified["routing_properties"]["task_sid"], call["task"]["sid"]);
        let seen = participants(&desk).await;
        assert_eq!(seen["participants"][0]["media_properties"]["hold"], expected);
        assert_eq!(seen["participants"][1]["media_properties"]["hold"], json!(["false"]));
    }
    let mut of_worker = hold(&call, true);
    of_worker["TargetWorkerSid"] = json!(desk.worker);
    assert_eq!(desk.worker_request("POST", "/HoldWorkerParticipant", of_worker).await.0, 200);
    assert_eq!(desk.event().await.1["type"], "agent");

    assert_eq!(desk.request("POST", &channel, json!({ "status": "closed" })).await.0, 200);
    assert_eq!((desk.event().await.0, desk.event().await.0), ("reservation.wrapup".into(), "task.wrapup".into()));
    let (status, _) = desk.worker_request("POST", "/CustomerParticipant", hold(&call, true)).await;
    assert_eq!(status, 400, "a call that is over cannot be held");
    let complete = json!({ "ReservationStatus": "completed" });
    assert_eq!(desk.reservation_request(&call, complete).await.0, 200);
    let (_, shown) = desk.sim.get(&desk.sim.at("/__sim/tasks")).await;
    assert_eq!(shown["tasks"][0]["reservation_status"], "completed");
}

#[tokio::test]
async fn another_worker_can_neither_see_nor_change_the_task() {
    let mut desk = desk().await;
    let call = desk.call().await;
    let user = desk.sim.provision("bob", &["agent"]).await;
    let own = desk.worker.clone();
    desk.worker = user["worker"]["worker_sid"].as_str().unwrap().to_owned();
    desk.token = desk.sim.mint(user["flex_user_sid"].as_str().unwrap()).await["access_token"].as_str().unwrap().into();
    let complete = json!({ "ReservationStatus": "completed" });
    for _ in 0..2 {
        assert_eq!(desk.reservation_request(&call, complete.clone()).await.0, 404);
        assert_eq!(desk.worker_request("POST", "/CustomerParticipant", hold(&call, true)).await.0, 404);
        assert_eq!(desk.worker_request("GET", "/Reservations", json!({})).await.1["contents"], json!([]));
        assert_eq!(desk.request("GET", &format!("{}/Channels", interaction(&call)), json!({})).await.0, 404);
        // In the second round, send the same requests with the first worker's SID in the paths.
        desk.worker.clone_from(&own);
    }
}

#[tokio::test]
async fn an_old_token_can_do_nothing_with_the_task() {
    let mut desk = desk().await;
    let call = desk.call().await;
    desk.sim.control("tokens/revoke", json!({ "token": desk.token })).await;
    assert_eq!(desk.worker_request("POST", "/CustomerParticipant", hold(&call, true)).await.0, 401);
    assert_eq!(desk.request("GET", &format!("{}/Channels", interaction(&call)), json!({})).await.0, 401);
}

#[tokio::test]
async fn only_an_available_worker_is_offered_a_task() {
    let sim = sim().await;
    sim.provision("ada", &["agent"]).await;
    for (offer, why) in [
        (json!({ "username": "ada" }), "not available"),
        (json!({ "username": "bob" }), "no worker"),
        (json!({ "username": "ada", "timeout": 1 }), "unknown field"),
    ] {
        let (status, answer) = sim.send(sim.http.post(sim.at("/__sim/tasks")).json(&offer)).await;
        assert!(status == 400 && answer["error"].as_str().unwrap().contains(why), "{status} {answer}");
    }
}
