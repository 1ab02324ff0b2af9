//! Cross-origin requests. Only pages with a listed origin can read answers and send credentials.
//!
//! Flexgate does not use the CORS layer of `tower-http`, because that layer reveals the allowed methods and headers to
//! every origin.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method};

use super::problem::{Problem, kinds};
use crate::platform::Common;

/// The listed origins, as browsers send them: scheme, host, and the port unless it is the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origins(Vec<String>);

impl Origins {
    /// Returns the origins from the settings: Flexgate's own origin, and the origins of other front ends.
    #[must_use]
    pub fn new(settings: &Common) -> Self {
        let listed = std::iter::once(&settings.public_url).chain(&settings.allowed_origins);
        Self(listed.map(|url| url.origin().ascii_serialization()).collect())
    }

    fn listed<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        self.0.iter().any(|listed| listed.as_bytes() == origin.as_bytes()).then_some(origin)
    }

    /// Whether a page of another site sent the request, for example from a script or a frame, and that page's origin is
    /// not listed. False if the browser opens the requested address in a whole tab, as it does with the callback.
    pub(super) fn are_foreign_to(&self, headers: &HeaderMap) -> bool {
        let says = |name: &str, value: &str| headers.get(name).is_some_and(|said| said == value);
        let is_embedded = says("sec-fetch-site", "cross-site") && !says("sec-fetch-dest", "document");
        is_embedded && self.listed(headers).is_none()
    }

    /// Refuses requests from other sites (CSRF). A request must have exactly one origin, which must be listed. It must
    /// also have the header `x-flexgate: 1`, which HTML forms cannot send. `sec-fetch-site` must not be `cross-site`.
    pub fn require(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let header = headers.get("x-flexgate").is_some_and(|value| value == "1");
        let cross_site = headers.get("sec-fetch-site").is_some_and(|value| value == "cross-site");
        let one_origin = headers.get_all(ORIGIN).iter().count() == 1;
        if header && one_origin && !cross_site && self.listed(headers).is_some() {
            return Ok(());
        }
        Err(Problem::new(
            kinds::CROSS_SITE,
            "Call this from a page of a listed origin (FLEXGATE_PUBLIC_URL, FLEXGATE_ALLOWED_ORIGINS) with the header x-flexgate: 1.",
        ))
    }

    /// Whether this is a CORS preflight request. The edge (the layer around all routes) answers preflight requests
    /// itself, so no route receives them.
    pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
        method == Method::OPTIONS && headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Adds the headers that let a listed origin read the answer. For other origins, adds only `vary`.
    pub(super) fn allow(&self, request: &HeaderMap, preflight: bool, response: &mut HeaderMap) {
        response.append(VARY, HeaderValue::from_static("origin"));
        let Some(origin) = self.listed(request) else { return };
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        response.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        if preflight {
            response.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE"));
            let headers = HeaderValue::from_static("authorization, content-type, x-flexgate");
            response.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers);
            response.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        } else {
            let headers = HeaderValue::from_static("date, retry-after, x-request-id");
            response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, headers);
        }
    }
}
