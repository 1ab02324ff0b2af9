//! The SDK's GraphQL channel. The simulator has no schema. It checks tokens, answers each query with a GraphQL error,
//! and accepts subscriptions but never sends them an event.

use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::credentials::presented_token;
use super::{Outcome, TwilioError, info};
use crate::call::Call;
use crate::web;
use crate::world::World;

/// The subprotocol of the SDK's library, graphql-ws.
const PROTOCOL: &str = "graphql-transport-ws";
/// The close codes of that protocol.
const FORBIDDEN: u16 = 4403;
const UNAUTHORIZED: u16 = 4401;
const BAD_REQUEST: u16 = 4400;

/// Answers a query. The SDK sends a short one as GET and a long one as POST.
pub(super) fn answer(world: &World, call: &Call, method: &str) -> Outcome {
    let token = presented_token(call).ok_or_else(TwilioError::unauthenticated)?;
    info::authenticated(world, &token)?;
    let has_query = match method {
        "GET" => call.query("query").is_some(),
        "POST" => serde_json::from_slice::<Value>(&call.body).is_ok_and(|body| body["query"].is_string()),
        _ => return Err(TwilioError::method_not_allowed()),
    };
    if !has_query {
        return Err(TwilioError::new(400, 20001, "A query is required"));
    }
    let error = json!({ "message": "The simulator has no GraphQL schema", "extensions": { "code": "GRAPHQL_VALIDATION_FAILED" } });
    Ok(web::json(StatusCode::OK, &json!({ "data": null, "errors": [error] })))
}

/// Opens the websocket for subscriptions.
pub(crate) fn connect(world: &Arc<World>, upgrade: WebSocketUpgrade) -> Response {
    let world = world.clone();
    upgrade.protocols([PROTOCOL]).on_upgrade(move |socket| async move {
        converse(&world, socket).await;
    })
}

async fn converse(world: &World, mut socket: WebSocket) {
    let mut stop = world.stop.clone();
    let mut is_open = false;
    loop {
        let text = tokio::select! {
            _ = stop.changed() => return close(socket, 1001, "the simulator stops").await,
            incoming = socket.recv() => match incoming {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
        };
        let Ok(message) = serde_json::from_str::<Value>(&text) else {
            return close(socket, BAD_REQUEST, "the message is not JSON").await;
        };
        let reply = match message["type"].as_str() {
            Some("connection_init") => {
                let token = message["payload"]["authToken"].as_str().and_then(|text| text.strip_prefix("Bearer "));
                if token.is_none_or(|token| info::authenticated(world, token).is_err()) {
                    return close(socket, FORBIDDEN, "Forbidden").await;
                }
                is_open = true;
                json!({ "type": "connection_ack" })
            }
            Some("ping") => json!({ "type": "pong" }),
            Some("subscribe") if !is_open => return close(socket, UNAUTHORIZED, "Unauthorized").await,
            Some("subscribe" | "complete" | "pong") => continue,
            _ => return close(socket, BAD_REQUEST, "the message has an unknown type").await,
        };
        if socket.send(Message::text(reply.to_string())).await.is_err() {
            return;
        }
    }
}

async fn close(mut socket: WebSocket, code: u16, reason: &'static str) {
    let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
}
