//! What Flexgate records about the browser that signs in.

use std::net::IpAddr;
use std::str::FromStr;

use flexgate::store::SessionKey;
use flexgate::web::network_prefix;

/// The browser that sends a callback.
#[derive(Debug, Clone, Default)]
pub struct Visitor {
    /// The browser's previous session.
    pub earlier_session: Option<SessionKey>,
    /// The client's address, if it is known.
    pub address: Option<IpAddr>,
    /// The family of the browser, if the request names one.
    pub browser: Option<&'static str>,
}

/// `FLEXGATE_SESSION_ADDRESS`: which part of the client's IP address Flexgate stores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StoredAddress {
    /// The network: 24 bits of an IPv4 address, or 48 bits of an IPv6 address.
    #[default]
    Network,
    /// The whole address.
    Full,
}

/// The setting's value is not one of the allowed values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be network or full")]
pub struct StoredAddressError;

impl FromStr for StoredAddress {
    type Err = StoredAddressError;

    fn from_str(text: &str) -> Result<Self, StoredAddressError> {
        match text {
            "network" => Ok(Self::Network),
            "full" => Ok(Self::Full),
            _ => Err(StoredAddressError),
        }
    }
}

impl StoredAddress {
    /// Returns the part of the IP address to store.
    #[must_use]
    pub fn of(self, address: IpAddr) -> String {
        match self {
            Self::Network => network_prefix(address),
            Self::Full => address.to_canonical().to_string(),
        }
    }
}

/// Returns the family of the browser that sends this `User-Agent`. Leaves out the version and the machine, because
/// administrators should be able to tell browsers apart, but not to recognise a person.
#[must_use]
pub fn browser_family(user_agent: &str) -> &'static str {
    // For compatibility, most browsers also name other browsers in their `User-Agent`. For example, Edge also names
    // Chrome and Safari. The first match counts, so this list has Edge before Chrome, and Chrome before Safari.
    const FAMILIES: [(&str, &str); 12] = [
        ("Edg/", "Edge"),
        ("EdgA/", "Edge"),
        ("EdgiOS/", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("Electron/", "Electron"),
        ("FxiOS/", "Firefox"),
        ("Firefox/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("Chrome/", "Chrome"),
        ("Chromium/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    FAMILIES.iter().find(|(mark, _)| user_agent.contains(mark)).map_or("other", |(_, family)| family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_known_by_its_own_name_and_not_by_those_that_it_imitates() {
        let chrome =
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
        for (agent, family) in [
            (chrome, "Chrome"),
            (&format!("{chrome} Edg/140.0.0.0"), "Edge"),
            (&format!("{chrome} OPR/120.0.0.0"), "Opera"),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox"),
            ("Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15", "Safari"),
            ("Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0 Safari/604.1", "Chrome"),
            ("curl/8.0", "other"),
            ("", "other"),
        ] {
            assert_eq!(browser_family(agent), family, "{agent}");
        }
    }

    #[test]
    fn the_whole_address_is_stored_only_if_the_setting_says_so() {
        let address = "203.0.113.77".parse().unwrap();
        assert_eq!(StoredAddress::default().of(address), "203.0.113.0/24");
        assert_eq!("full".parse::<StoredAddress>().unwrap().of(address), "203.0.113.77");
        assert_eq!("prefix".parse::<StoredAddress>(), Err(StoredAddressError));
    }
}
