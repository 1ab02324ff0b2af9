//! The applications registered with the identity provider.

use crate::{PAGE_CLIENT_ID, READER_CLIENT_ID, READER_CLIENT_SECRET, SERVICE_CLIENT_ID, SERVICE_CLIENT_SECRET};

/// The simulated Twilio's client id at the identity provider.
pub(crate) const TWILIO_CLIENT_ID: &str = "twilio-flex";

pub(super) struct Client {
    pub(super) id: &'static str,
    /// The secret. `None` for a public client, which must use PKCE.
    pub(super) secret: Option<&'static str>,
    pub(super) may_use_codes: bool,
    /// The scopes that the client may request with the client credentials grant.
    pub(super) service_scopes: &'static [&'static str],
}

static CLIENTS: [Client; 4] = [
    // Nobody sends this secret, because the simulated Twilio redeems its codes inside the process.
    Client { id: TWILIO_CLIENT_ID, secret: Some("twilio-flex-secret"), may_use_codes: true, service_scopes: &[] },
    Client { id: PAGE_CLIENT_ID, secret: None, may_use_codes: true, service_scopes: &[] },
    Client {
        id: SERVICE_CLIENT_ID,
        secret: Some(SERVICE_CLIENT_SECRET),
        may_use_codes: false,
        service_scopes: &["flexgate.token", "flexgate.token.any", "flexgate.users.read", "flexgate.users.write"],
    },
    Client {
        id: READER_CLIENT_ID,
        secret: Some(READER_CLIENT_SECRET),
        may_use_codes: false,
        service_scopes: &["flexgate.users.read"],
    },
];

pub(super) fn find(id: &str) -> Option<&'static Client> {
    CLIENTS.iter().find(|client| client.id == id)
}

impl Client {
    pub(super) fn may_redirect_to(&self, uri: &str) -> bool {
        let Ok(parsed) = url::Url::parse(uri) else { return false };
        if parsed.fragment().is_some() {
            return false;
        }
        let host = parsed.host_str().unwrap_or_default();
        let loopback = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        if self.id == TWILIO_CLIENT_ID {
            let local = loopback || host.ends_with(".twilio.com") || host.ends_with(".localhost");
            return local && parsed.path().ends_with("/v1/Flex/SSO/Callback");
        }
        self.may_use_codes && loopback && matches!(parsed.scheme(), "http" | "https")
    }
}
