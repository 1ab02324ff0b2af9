//! The layer around all routes (the edge). It adds the request's id and deadline, problem responses, security headers,
//! CORS, budgets of failures, and the log line.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::{Instant, timeout_at};
use tower_http::catch_panic::CatchPanicLayer;

use super::budget::FailureBudgets;
use super::cdn::CdnSettings;
use super::client::{ClientSettings, Peer};
use super::context::Context;
use super::cors::Origins;
use super::page::{self, PageSettings};
use super::problem::{Document, LoggedProblem, Problem, kinds};
use crate::base::clock_rng::ClockRng;
use crate::base::outbound::Deadline;
use crate::platform::Common;
use crate::telemetry::{self, Meter, RequestId, RequestLine};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The edge of one function: the layer around all its routes. It contains the function's name and the settings that
/// apply to all routes.
#[derive(Debug)]
pub struct Edge {
    function: &'static str,
    origins: Origins,
    secure: bool,
    time: Duration,
    clock_rng: ClockRng,
    budgets: FailureBudgets,
    clients: ClientSettings,
    cdn: CdnSettings,
    page: PageSettings,
    page_policy: HeaderValue,
}

impl Edge {
    /// Creates the edge of `function` with these settings.
    #[must_use]
    pub fn new(function: &'static str, settings: &Common, clock_rng: ClockRng) -> Arc<Self> {
        let policy = page::content_security_policy(&settings.page);
        Arc::new(Self {
            function,
            origins: Origins::new(settings),
            secure: settings.public_url.scheme() == "https",
            time: settings.request_time,
            cdn: settings.cdn.clone(),
            clients: settings.clients.clone(),
            budgets: FailureBudgets::new(settings.clients.clone(), clock_rng.clone()),
            clock_rng,
            page: settings.page.clone(),
            page_policy: HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'")),
        })
    }

    /// Wraps `routes` in the edge, the layer that every request passes. Also adds `/health`, and the answers for
    /// unknown routes and methods.
    pub fn assemble(self: Arc<Self>, routes: Router) -> Router {
        let function = self.function;
        let health = move || async move {
            axum::Json(serde_json::json!({ "function": function, "version": env!("CARGO_PKG_VERSION") }))
        };
        routes
            .route("/health", get(health))
            .fallback(|| async { Problem::new(kinds::ROUTE_UNKNOWN, "See the route table in Flexgate's README.") })
            .method_not_allowed_fallback(refuse_method)
            .layer(CatchPanicLayer::custom(|panic: Box<dyn Any + Send>| internal(panic.as_ref()).into_response()))
            .layer(from_fn_with_state(self, at_the_edge))
    }
}

/// Answers a request whose method the route does not support.
pub async fn refuse_method() -> Problem {
    Problem::new(kinds::METHOD_NOT_ALLOWED, "See the route table in Flexgate's README.")
}

async fn at_the_edge(State(edge): State<Arc<Edge>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let request_id = RequestId::new(&edge.clock_rng);
    let deadline = request.extensions().get::<Deadline>().copied().unwrap_or_else(|| Deadline::after(edge.time));

    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let asked = request.headers().clone();
    let preflight = Origins::is_preflight(&method, &asked);
    let came_through_cdn = edge.cdn.accepts(&asked);
    let peer = edge.cdn.client(&asked).filter(|_| came_through_cdn);
    let peer = peer.or_else(|| request.extensions().get::<Peer>().copied());
    let client = peer.map(|peer| edge.clients.address(peer, &asked));
    request.extensions_mut().insert(Context { request_id: request_id.clone(), deadline, client });
    let account = if preflight || !came_through_cdn {
        None
    } else {
        edge.budgets.account(route.as_deref(), wants_page(&asked), edge.origins.are_foreign_to(&asked), peer, &asked)
    };
    let ticket = match account.map(|account| edge.budgets.admit(account, &request_id)).transpose() {
        Ok(ticket) => ticket,
        Err(wait) => return edge.refuse(wait, &request_id, &asked),
    };
    let mut response = if !came_through_cdn {
        Problem::new(kinds::CDN_REQUIRED, "Call Flexgate at its public address.").into_response()
    } else if preflight {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let answered = telemetry::metered(timeout_at(deadline.instant(), next.run(request)));
        let (answered, meter) = answered.await;
        let mut response = answered.unwrap_or_else(|_| {
            Problem::new(kinds::TIMEOUT, "Try again. If it keeps happening, check Twilio's status.").into_response()
        });
        response.extensions_mut().insert(meter);
        response
    };

    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(problem) = &problem {
        response = edge.render(problem, &request_id, &asked, &response);
    }
    let problem = problem.or_else(|| response.extensions_mut().remove::<LoggedProblem>().map(|told| told.0));
    if let Some(ticket) = ticket {
        ticket.answered(response.status(), problem.as_ref().map(Problem::kind));
    }
    edge.finish(&request_id, &asked, preflight, response.headers_mut());
    telemetry::request(&RequestLine {
        function: edge.function,
        request_id: request_id.as_str(),
        method: method.as_str(),
        route: route.as_deref().unwrap_or("unmatched"),
        status: response.status().as_u16(),
        code: problem.as_ref().map(|problem| problem.kind().code),
        fault: problem.as_ref().and_then(|problem| problem.parts().fault.as_deref()),
        duration: began.elapsed(),
        meter: response.extensions().get::<Meter>().copied().unwrap_or_default(),
    });
    response
}

impl Edge {
    /// Answers a client whose budget of failed requests is used up.
    fn refuse(&self, wait: Duration, request_id: &RequestId, asked: &HeaderMap) -> Response {
        let detail = "Too many failed requests came from your network. Wait a moment, then try again.";
        let problem = Problem::new(kinds::TOO_MANY_REQUESTS, detail).retry_after(Some(wait));
        let mut response = self.render(&problem, request_id, asked, &Response::default());
        self.finish(request_id, asked, false, response.headers_mut());
        response
    }

    /// Renders a problem. The result is an HTML page if the request accepts HTML, and otherwise a problem document. It
    /// keeps the cookies and the `allow` header of `from`.
    fn render(&self, problem: &Problem, request_id: &RequestId, asked: &HeaderMap, from: &Response) -> Response {
        let parts = problem.parts();
        let mut response = if wants_page(asked) {
            let mut response = page::render(problem, request_id.as_str(), &self.page).into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            headers.insert(header::CONTENT_SECURITY_POLICY, self.page_policy.clone());
            response
        } else {
            let mut response = axum::Json(Document::of(problem, request_id.as_str())).into_response();
            let content_type = HeaderValue::from_static("application/problem+json");
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
            response
        };
        *response.status_mut() = parts.kind.status;
        let headers = response.headers_mut();
        for cookie in from.headers().get_all(header::SET_COOKIE) {
            headers.append(header::SET_COOKIE, cookie.clone());
        }
        if let Some(allow) = from.headers().get(header::ALLOW) {
            headers.insert(header::ALLOW, allow.clone());
        }
        if [kinds::TOKEN_INVALID, kinds::SIGNED_OUT].contains(&parts.kind) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = problem.wait_seconds() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(meter) = from.extensions().get::<Meter>() {
            response.extensions_mut().insert(*meter);
        }
        response
    }

    /// Adds the headers that every answer has.
    fn finish(&self, request_id: &RequestId, asked: &HeaderMap, preflight: bool, headers: &mut HeaderMap) {
        self.origins.allow(asked, preflight, headers);
        if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
            headers.insert(X_REQUEST_ID, value);
        }
        let mut default = |name: HeaderName, value: &'static str| {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        };
        default(header::CACHE_CONTROL, "no-store");
        default(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
        default(header::REFERRER_POLICY, "no-referrer");
        default(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        default(header::X_FRAME_OPTIONS, "DENY");
        if self.secure {
            default(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
        }
    }
}

/// Whether the request accepts HTML. A browser accepts `text/html` for a page, but not for `fetch`.
fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|range| range.trim().split(';').next() == Some("text/html"))
}

/// Converts a panic to an internal error. Only the log contains the panic's message.
fn internal(panic: &(dyn Any + Send)) -> Problem {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = message.unwrap_or("without a message"), "a handler panicked");
    Problem::new(kinds::INTERNAL, "Give the request's id to your administrator.")
}
