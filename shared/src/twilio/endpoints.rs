//! The addresses of Twilio's services.

use std::str::FromStr;

use url::{Host, Url};

/// One of Twilio's services. Each has a separate host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// `flex-api.twilio.com`: users, tokens, configuration.
    FlexApi,
    /// `services.twilio.com`: SSO.
    Services,
    /// `taskrouter.twilio.com`: workers.
    TaskRouter,
    /// `iam.twilio.com`: validates tokens.
    Iam,
}

impl Service {
    fn label(self) -> &'static str {
        match self {
            Self::FlexApi => "flex-api",
            Self::Services => "services",
            Self::TaskRouter => "taskrouter",
            Self::Iam => "iam",
        }
    }
}

/// The addresses of Twilio's services. They are either Twilio's own hosts in a region, or one address (such as the
/// simulator's) with a separate path for each service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints(Base);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Base {
    Twilio { region: Option<Box<str>> },
    At(Url),
}

/// Why a region or an address is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointsError {
    /// The text is not a region label.
    #[error("must be a Twilio region like ie1 or dublin.ie1")]
    Region,
    /// The text is not a usable address.
    #[error("must be an https URL, or an http URL of this machine, like http://localhost:9010")]
    Address,
}

impl Default for Endpoints {
    /// Returns the addresses of Twilio's default region.
    fn default() -> Self {
        Self(Base::Twilio { region: None })
    }
}

impl Endpoints {
    /// Returns the addresses of Twilio in a region such as `ie1`. An edge location may precede the region:
    /// `dublin.ie1`.
    pub fn in_region(region: &str) -> Result<Self, EndpointsError> {
        let label = |label: &str| {
            (1..=20).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !region.split('.').all(label) || region.split('.').count() > 2 {
            return Err(EndpointsError::Region);
        }
        // us1 is the default region. Its hosts have no region label.
        let region = (region != "us1").then(|| region.into());
        Ok(Self(Base::Twilio { region }))
    }

    /// Returns endpoints that use one address for all services. The first path segment is the service's name.
    pub fn at(address: &str) -> Result<Self, EndpointsError> {
        let url = Url::from_str(address).map_err(|_| EndpointsError::Address)?;
        let acceptable = match url.scheme() {
            "https" => url.host().is_some(),
            "http" => is_loopback(&url),
            _ => false,
        };
        if acceptable && url.query().is_none() && url.fragment().is_none() && url.username().is_empty() {
            Ok(Self(Base::At(url)))
        } else {
            Err(EndpointsError::Address)
        }
    }

    /// Returns the address of the server that replaces Twilio, such as the simulator. `None` for Twilio's own hosts.
    #[must_use]
    pub fn stand_in(&self) -> Option<&Url> {
        match &self.0 {
            Base::At(url) => Some(url),
            Base::Twilio { .. } => None,
        }
    }

    /// Builds the URL of `path` at `service`, with every segment percent-encoded.
    #[must_use]
    pub fn url(&self, service: Service, path: &[&str]) -> Url {
        let mut url = match &self.0 {
            Base::At(base) => {
                let mut url = base.clone();
                if let Ok(mut parts) = url.path_segments_mut() {
                    parts.pop_if_empty().push(service.label());
                }
                url
            }
            Base::Twilio { region } => host(service, region.as_deref()),
        };
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(path);
        }
        url
    }
}

/// Whether the URL's host is the local machine. Plain HTTP is safe there, because the data crosses no network.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[expect(clippy::expect_used, reason = "a region is checked to be host labels when it is read")]
fn host(service: Service, region: Option<&str>) -> Url {
    let label = service.label();
    let address = match (service, region) {
        (_, None) => format!("https://{label}.twilio.com/"),
        // The host of `services` may contain a region, but no edge location.
        (Service::Services, Some(region)) => {
            let region = region.rsplit('.').next().unwrap_or(region);
            format!("https://{label}.{region}.twilio.com/")
        }
        (_, Some(region)) => format!("https://{label}.{region}.twilio.com/"),
    };
    Url::parse(&address).expect("a host of checked labels")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_insert_labels_and_services_never_takes_an_edge() {
        let url = |endpoints: &Endpoints, service| endpoints.url(service, &["v4", "x"]).to_string();
        let edge = Endpoints::in_region("dublin.ie1").unwrap();
        assert_eq!(url(&edge, Service::FlexApi), "https://flex-api.dublin.ie1.twilio.com/v4/x");
        assert_eq!(url(&edge, Service::Services), "https://services.ie1.twilio.com/v4/x");
        let home = Endpoints::in_region("us1").unwrap();
        assert_eq!(home, Endpoints::default());
        assert_eq!(url(&home, Service::FlexApi), "https://flex-api.twilio.com/v4/x");
        for region in ["", "evil.example/", "a.b.c", "IE1"] {
            assert_eq!(Endpoints::in_region(region), Err(EndpointsError::Region), "{region}");
        }
    }

    #[test]
    fn another_address_takes_a_path_per_service_and_must_be_safe() {
        let local = Endpoints::at("http://localhost:9010").unwrap();
        let url = local.url(Service::FlexApi, &["v4", "a b/../c"]);
        assert_eq!(url.as_str(), "http://localhost:9010/flex-api/v4/a%20b%2F..%2Fc");
        for address in ["http://twilio.example", "ftp://localhost", "localhost:9010", "https://u@twilio.example", ""] {
            assert_eq!(Endpoints::at(address), Err(EndpointsError::Address), "{address}");
        }
    }
}
