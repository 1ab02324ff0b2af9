//! Handles every request and passes it to its service. Adds the headers that Twilio adds to every answer. Also records
//! the request in the journal and applies a matching fault, unless the request is for the control API.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts as _;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use http_body_util::{BodyExt as _, Limited};
use hyper::Request;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::call::{Call, Service, Wire};
use crate::faults::{self, Fault, Kind};
use crate::listener::Cut;
use crate::world::World;
use crate::{control, idp, random, twilio, web};

const BODY_LIMIT: usize = 8 * 1024 * 1024;
const HUGE: usize = 10 * 1024 * 1024;

pub(crate) async fn handle(
    world: &std::sync::Arc<World>,
    wire: &Wire,
    request: Request<Incoming>,
) -> Result<Response, Cut> {
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return Ok(web::respond(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", "the body is over 8 MB"));
        }
        Err(_) => return Err(Cut),
    };
    answer(world, wire, parts, body).await
}

/// Answers a request whose body has arrived.
pub(crate) async fn answer(
    world: &std::sync::Arc<World>,
    wire: &Wire,
    mut parts: Parts,
    body: Bytes,
) -> Result<Response, Cut> {
    let call = Call::new(&parts, body, wire);
    let started = tokio::time::Instant::now();
    let mut response = if call.service == Service::Control {
        if call.method == Method::OPTIONS { web::empty(StatusCode::NO_CONTENT) } else { control::answer(world, &call) }
    } else {
        let id = world.state().journal.begin(&call);
        let (answer, fault) = faulted(world, &call, &mut parts).await;
        let status = answer.as_ref().ok().map(|response| response.status().as_u16());
        world.state().journal.finish(id, status, fault);
        answer?
    };
    world.save();
    add_headers(response.headers_mut(), &call, started.elapsed());
    Ok(response)
}

async fn faulted(
    world: &std::sync::Arc<World>,
    call: &Call,
    parts: &mut Parts,
) -> (Result<Response, Cut>, Option<Kind>) {
    if call.method == Method::OPTIONS {
        return (Ok(web::empty(StatusCode::NO_CONTENT)), None);
    }
    let fault = faults::take(&mut world.state().faults, call);
    let Some(fault) = fault else { return (Ok(perform(world, call, parts).await), None) };
    if let Some(delay) = fault.delay_ms {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let answer = match fault.kind {
        Kind::Status => Ok(status_answer(&fault)),
        Kind::Delay => Ok(perform(world, call, parts).await),
        Kind::Reset => Err(Cut),
        Kind::Garbage => Ok(web::respond(
            StatusCode::OK,
            "text/html; charset=utf-8",
            "<!doctype html><html><head><title>Not the answer</title></head><body><h1>It works!</h1></body></html>",
        )),
        Kind::LostResponse => {
            perform(world, call, parts).await;
            world.save();
            Err(Cut)
        }
        Kind::Huge => Ok(huge()),
    };
    (answer.map(|response| with_headers(response, &fault)), Some(fault.kind))
}

async fn perform(world: &std::sync::Arc<World>, call: &Call, parts: &mut Parts) -> Response {
    match call.service {
        Service::EventBridge if call.method == Method::GET && call.header("upgrade").is_some() => {
            match WebSocketUpgrade::from_request_parts(parts, &()).await {
                Ok(upgrade) if call.segments() == ["graphql-subscriptions"] => twilio::graphql::connect(world, upgrade),
                Ok(upgrade) => twilio::bridge::connect(world, call, upgrade),
                Err(refusal) => axum::response::IntoResponse::into_response(refusal),
            }
        }
        Service::Idp => idp::answer(world, call),
        service if service.is_twilio() => twilio::answer(world, call),
        _ if call.segments.is_empty() => control::front_page(world),
        _ => web::respond(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "no such host or path prefix: see /"),
    }
}

fn status_answer(fault: &Fault) -> Response {
    let status = web::status(fault.status.unwrap_or(500));
    match &fault.body {
        Some(Value::String(text)) => web::respond(status, "text/plain; charset=utf-8", text.clone()),
        Some(body) => web::json(status, body),
        None => {
            let code = match status.as_u16() {
                401 => 20003,
                403 => 20403,
                404 => 20404,
                429 => 20429,
                503 => 20503,
                other if other >= 500 => 20500,
                other => u32::from(other) + 20000,
            };
            let message = status.canonical_reason().unwrap_or("Injected fault");
            web::json(
                status,
                &json!({
                    "code": code, "message": message, "status": status.as_u16(),
                    "more_info": format!("https://www.twilio.com/docs/errors/{code}"),
                }),
            )
        }
    }
}

fn huge() -> Response {
    let mut body = Vec::with_capacity(HUGE);
    body.extend_from_slice(b"{\"filler\":\"");
    body.resize(HUGE - 2, b'x');
    body.extend_from_slice(b"\"}");
    web::respond(StatusCode::OK, "application/json", Body::from(Bytes::from(body)))
}

fn with_headers(mut response: Response, fault: &Fault) -> Response {
    for (name, value) in &fault.headers {
        let pair = HeaderName::try_from(name.as_str())
            .ok()
            .zip(value.as_str().and_then(|text| HeaderValue::from_str(text).ok()));
        if let Some((name, value)) = pair {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn add_headers(headers: &mut HeaderMap, call: &Call, took: Duration) {
    let fixed = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "twilio-request-id, twilio-request-duration, retry-after, etag"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if call.method == Method::OPTIONS {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, OPTIONS"),
        );
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static(
                "content-type, authorization, x-flex-jwe, x-flex-version, apiversion, clientversion, if-match",
            ),
        );
        // Chromium lets a public page call a private address only if the preflight answer has this header.
        headers
            .insert(HeaderName::from_static("access-control-allow-private-network"), HeaderValue::from_static("true"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    if call.service.is_twilio() {
        let own = [
            ("twilio-request-id", random::sid("RQ")),
            ("twilio-request-duration", format!("{:.3}", took.as_secs_f64())),
            ("twilio-concurrent-requests", "1".to_owned()),
        ];
        for (name, value) in own {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}
