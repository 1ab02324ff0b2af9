//! A decoded HTTP request, and the simulated service that handles it.

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

/// A simulated service. A request's host, or the first part of its path, selects the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Service {
    FlexApi,
    Services,
    Iam,
    Flex,
    EventBridge,
    Taskrouter,
    Preview,
    Idp,
    /// The control API under `/__sim`. The journal (the simulator's list of requests) omits requests to this API, and
    /// the simulator never injects faults into them.
    Control,
    Other,
}

impl Service {
    fn from_label(label: &str) -> Option<Self> {
        Some(match label {
            "flex-api" => Self::FlexApi,
            "services" => Self::Services,
            "iam" => Self::Iam,
            "flex" => Self::Flex,
            "event-bridge" => Self::EventBridge,
            "taskrouter" => Self::Taskrouter,
            "preview" => Self::Preview,
            _ => return None,
        })
    }

    /// Returns the service with this name. The journal uses the same names.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        serde_json::from_value(name.into()).ok()
    }

    pub(crate) fn is_twilio(self) -> bool {
        !matches!(self, Self::Idp | Self::Control | Self::Other)
    }
}

/// What is known about the connection, besides the request itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wire {
    pub(crate) tls: bool,
    pub(crate) server_name: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) service: Service,
    pub(crate) method: Method,
    /// The path without the service's prefix, still percent-encoded.
    pub(crate) path: String,
    /// The decoded segments of the path.
    pub(crate) segments: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) raw_query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The service's URL as the client used it: `scheme://host[:port]`, and perhaps the service's prefix.
    pub(crate) own_url: String,
    pub(crate) host: String,
    pub(crate) tls: bool,
}

impl Call {
    pub(crate) fn new(parts: &Parts, body: Bytes, wire: &Wire) -> Self {
        let host = parts
            .headers
            .get(header::HOST)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
            .or_else(|| parts.uri.authority().map(ToString::to_string))
            .or_else(|| wire.server_name.clone())
            .unwrap_or_default();
        let scheme = if wire.tls { "https" } else { "http" };
        let raw_path = parts.uri.path();
        let by_host = service_of_host(&host).or_else(|| wire.server_name.as_deref().and_then(service_of_host));
        let (service, path, prefix) = match by_host {
            Some(service) => (service, raw_path.to_owned(), String::new()),
            None => service_of_path(raw_path),
        };
        let raw_query = parts.uri.query().unwrap_or_default().to_owned();
        Self {
            service,
            method: parts.method.clone(),
            segments: path
                .split('/')
                .filter(|segment| !segment.is_empty())
                .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
                .collect(),
            path,
            query: url::form_urlencoded::parse(raw_query.as_bytes()).into_owned().collect(),
            raw_query,
            headers: parts.headers.clone(),
            body,
            own_url: format!("{scheme}://{host}{prefix}"),
            host,
            tls: wire.tls,
        }
    }

    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        find(&self.query, name)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as a form.
    pub(crate) fn form(&self) -> Form {
        Form(url::form_urlencoded::parse(&self.body).into_owned().collect())
    }

    pub(crate) fn segments(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }
}

pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        find(&self.0, name)
    }
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Recognises a service's host, such as `flex-api.twilio.com`, `flex-api.dublin.ie1.twilio.com` or
/// `flex-api.localhost`.
fn service_of_host(host: &str) -> Option<Service> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
    let (label, rest) = name.split_once('.')?;
    let ours = rest == "twilio.com" || rest.ends_with(".twilio.com") || rest == "localhost";
    ours.then(|| Service::from_label(label)).flatten()
}

fn service_of_path(path: &str) -> (Service, String, String) {
    let trimmed = path.strip_prefix('/').unwrap_or(path);
    let (first, rest) = trimmed.split_once('/').map_or((trimmed, ""), |(first, rest)| (first, rest));
    if let Some(service) = Service::from_label(first) {
        return (service, format!("/{rest}"), format!("/{first}"));
    }
    let service = match first {
        "idp" | ".well-known" => Service::Idp,
        "__sim" => Service::Control,
        _ => Service::Other,
    };
    (service, path.to_owned(), String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_label_names_the_service_whatever_the_region_or_port() {
        assert_eq!(service_of_host("flex-api.twilio.com"), Some(Service::FlexApi));
        assert_eq!(service_of_host("flex-api.dublin.ie1.twilio.com:9443"), Some(Service::FlexApi));
        assert_eq!(service_of_host("EVENT-BRIDGE.twilio.com"), Some(Service::EventBridge));
        assert_eq!(service_of_host("localhost:9010"), None);
        assert_eq!(service_of_host("flex-api.twilio.com.evil.example"), None);
    }

    #[test]
    fn a_path_prefix_names_the_service_and_is_removed() {
        assert_eq!(service_of_path("/flex-api/v4/X"), (Service::FlexApi, "/v4/X".to_owned(), "/flex-api".to_owned()));
        assert_eq!(service_of_path("/idp/jwks"), (Service::Idp, "/idp/jwks".to_owned(), String::new()));
        assert_eq!(service_of_path("/").0, Service::Other);
    }
}
