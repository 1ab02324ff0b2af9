//! Runs a router as a Lambda function.

use std::future::{Future, ready};
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::to_bytes;
use axum::response::IntoResponse;
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt, Response, service_fn};
use tower::ServiceExt;

use crate::base::outbound::Deadline;
use crate::telemetry::{Trace, traced};
use crate::web::{Peer, Problem, kinds};

/// The part of an invocation's time that is reserved for sending the answer and writing the log.
const MARGIN: Duration = Duration::from_millis(300);

/// The longest time that a Lambda function can run.
const LONGEST_RUN: Duration = Duration::from_mins(15);

/// The largest response that Lambda accepts, in bytes.
const MAX_ANSWER: usize = 6 * 1024 * 1024;

/// Serves `router` as a Lambda function until Lambda ends the process. Each request has a deadline shortly before the
/// end of its invocation, so that Flexgate can still answer 504.
pub async fn serve(router: Router) -> Result<(), lambda_http::Error> {
    lambda_http::run_concurrent(service_fn(move |request| {
        let router = router.clone();
        async move { Ok::<_, lambda_http::Error>(Converted(answer_invocation(router, request).await)) }
    }))
    .await
}

/// A response whose body already has the type that Lambda expects. `lambda_http` would convert any other body according
/// to the character set that the response names. The tables for these conversions would add 0.1 MB to each function.
struct Converted(Response<Body>);

impl lambda_http::IntoResponse for Converted {
    fn into_response(self) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(ready(self.0))
    }
}

/// Returns the router's answer to one invocation. Failures also become responses. If this function returned an error,
/// API Gateway would answer with status 500 and no explanation.
pub async fn answer_invocation(router: Router, mut request: Request) -> Response<Body> {
    let mut trace = None;
    if let Some(context) = request.lambda_context_ref() {
        trace = context.xray_trace_id.as_deref().and_then(Trace::read);
        if let Some(deadline) = invocation_deadline(context.deadline()) {
            request.extensions_mut().insert(deadline);
        }
    }
    if let Some(peer) = peer(&request) {
        request.extensions_mut().insert(peer);
    }
    let Ok(response) = traced(trace, router.oneshot(request.map(axum::body::Body::new))).await;
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, MAX_ANSWER).await.map(Vec::from);
    match body.map(String::from_utf8) {
        Ok(Ok(text)) => Response::from_parts(parts, Body::Text(text)),
        Ok(Err(binary)) => Response::from_parts(parts, Body::Binary(binary.into_bytes())),
        Err(error) => {
            tracing::error!(error = %error, "an answer is too large for Lambda");
            let problem = Problem::new(kinds::INTERNAL, "The answer is too large.").into_response();
            Response::from_parts(problem.into_parts().0, Body::Empty)
        }
    }
}

/// The address that connected to API Gateway.
fn peer(request: &Request) -> Option<Peer> {
    let RequestContext::ApiGatewayV2(context) = request.request_context_ref()? else { return None };
    Peer::of_api_gateway(context.http.source_ip.as_deref()?)
}

/// Returns the deadline of an invocation that Lambda ends at `ends`. The deadline is a little earlier, so that there is
/// time to send the answer.
///
/// Returns `None` if `ends` is too long ago to be real. For example, cargo-lambda sends a time in 1970.
#[must_use]
pub fn invocation_deadline(ends: SystemTime) -> Option<Deadline> {
    #[expect(clippy::disallowed_methods, reason = "Lambda gives the deadline by the wall clock of this machine")]
    let now = SystemTime::now();
    let long_ago = now.duration_since(ends).is_ok_and(|ago| ago > LONGEST_RUN);
    let left = ends.duration_since(now).unwrap_or_default();
    (!long_ago).then(|| Deadline::after(left.saturating_sub(MARGIN)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the deadline is given by the wall clock")]
    fn a_deadline_that_has_passed_is_one_and_what_no_lambda_names_is_none() {
        let now = SystemTime::now();
        let left = |ends| invocation_deadline(ends).map(Deadline::remaining);
        assert!(left(now + Duration::from_secs(5)).is_some_and(|left| left > Duration::from_secs(4)));
        assert!(left(now + Duration::from_secs(5)).is_some_and(|left| left + MARGIN <= Duration::from_secs(5)));
        assert_eq!(left(now - Duration::from_secs(5)), Some(Duration::ZERO));
        assert_eq!(left(SystemTime::UNIX_EPOCH + Duration::from_mins(10)), None);
    }
}
