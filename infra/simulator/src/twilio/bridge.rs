//! The websocket of Twilio's event bridge. It sends `init` at the start, and an event for each change of the worker. A
//! blank message every fifteen seconds keeps the SDK from reconnecting.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::jwe::Claims;
use super::{channel, info};
use crate::call::Call;
use crate::world::World;
use crate::{ACCOUNT_SID, WORKSPACE_SID, web};

const BEAT: Duration = Duration::from_secs(15);

/// A change to a worker. The simulator sends it to the worker's websockets.
#[derive(Clone, Debug)]
pub(crate) struct WorkerEvent {
    pub(super) worker_sid: String,
    pub(super) event_type: &'static str,
    pub(super) payload: Value,
}

pub(crate) fn connect(world: &Arc<World>, call: &Call, upgrade: WebSocketUpgrade) -> Response {
    if call.segments() != ["v1", "wschannels"] {
        return super::TwilioError::not_found(&call.path).response(false);
    }
    let claims = match info::authenticated(world, call.query("token").unwrap_or_default()) {
        Ok(claims) => claims,
        Err(error) => return error.response(false),
    };
    let Some(worker_sid) = claims.worker_sid.clone() else {
        return web::respond(StatusCode::FORBIDDEN, "text/plain", "the token's user has no worker");
    };
    let offline_afterwards = call.query("setWorkerOfflineIfDisconnected") == Some("true");
    let world = world.clone();
    upgrade.on_upgrade(move |socket| async move {
        converse(&world, socket, &claims, &worker_sid).await;
        if offline_afterwards {
            channel::go_offline(&world, &worker_sid);
        }
    })
}

async fn converse(world: &World, mut socket: WebSocket, claims: &Claims, worker_sid: &str) {
    let mut events = world.events.subscribe();
    let mut stop = world.stop.clone();
    let lifetime = (claims.exp - world.state().now()).max(0) * 1000;
    let init = message(
        "init",
        &json!({ "channel_id": worker_sid, "account_sid": ACCOUNT_SID, "workspace_sid": WORKSPACE_SID, "token_lifetime": lifetime }),
    );
    if socket.send(init).await.is_err() {
        return;
    }
    let mut beat = tokio::time::interval(BEAT);
    beat.tick().await;
    loop {
        let outgoing = tokio::select! {
            _ = stop.changed() => {
                let _ = socket.send(Message::Close(Some(CloseFrame { code: 1001, reason: "the simulator stops".into() }))).await;
                return;
            }
            incoming = socket.recv() => match incoming {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
            event = events.recv() => match event {
                Ok(event) if event.worker_sid == worker_sid => message(event.event_type, &event.payload),
                Ok(_) | Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            },
            _ = beat.tick() => Message::text(" "),
        };
        if socket.send(outgoing).await.is_err() {
            return;
        }
    }
}

fn message(event_type: &str, payload: &Value) -> Message {
    Message::text(json!({ "event_type": event_type, "payload": payload }).to_string())
}
