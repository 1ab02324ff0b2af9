//! Finds the address of the client that sent a request.
//!
//! A client can write anything into `X-Forwarded-For`, but each proxy appends the address of its peer. So Flexgate
//! reads only the last entries, as many as there are trusted proxies.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::base::settings::Reader;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The maximum value of `FLEXGATE_TRUSTED_PROXIES`.
const MOST_PROXIES: usize = 10;

/// The other end of a request's connection. The server stores it in the request's extensions. Without it, Flexgate does
/// not know the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    address: IpAddr,
    source: PeerSource,
}

/// Where the address of a peer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PeerSource {
    /// The TCP connection.
    Connection,
    /// The event from API Gateway. The address is also the last entry of `X-Forwarded-For`.
    ApiGateway,
    /// A header from a CDN, in a request that contains the CDN's secret. The address is the client's, and not the
    /// CDN's.
    Cdn,
}

impl Peer {
    /// The other end of a TCP connection.
    #[must_use]
    pub fn of_connection(address: IpAddr) -> Self {
        Self { address, source: PeerSource::Connection }
    }

    /// Reads the peer's address from API Gateway's event. With mutual TLS, the address may have a port.
    #[must_use]
    pub fn of_api_gateway(source_ip: &str) -> Option<Self> {
        Some(Self { address: unverified_address(source_ip)?, source: PeerSource::ApiGateway })
    }

    /// Reads the client's address from a CDN's header. Call this only for a request that contains the CDN's secret.
    pub(super) fn of_cdn(client: &str) -> Option<Self> {
        Some(Self { address: unverified_address(client)?, source: PeerSource::Cdn })
    }
}

/// The network of a client: an IPv4 address, or the first 64 bits of an IPv6 address. Providers usually give each
/// customer at least one whole /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientNetwork(IpAddr);

impl ClientNetwork {
    /// The network of `address`.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            address @ IpAddr::V4(_) => Self(address),
        }
    }
}

impl fmt::Display for ClientNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

/// Returns the first 24 bits of an IPv4 address, or the first 48 bits of an IPv6 address. These bits show
/// administrators which office or provider a person uses, but do not identify a household.
#[must_use]
pub fn network_prefix(address: IpAddr) -> String {
    let address = address.to_canonical();
    let length = if address.is_ipv4() { 24 } else { 48 };
    IpNet::new(address, length).map(|network| network.trunc().to_string()).unwrap_or_default()
}

/// A list of networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Reads networks such as `203.0.113.0/24`, and single addresses. Skips empty items.
    pub fn read<'a>(items: impl IntoIterator<Item = &'a str>) -> Result<Self, &'static str> {
        let items = items.into_iter().map(str::trim).filter(|item| !item.is_empty());
        items.map(network).collect::<Result<_, _>>().map(Self)
    }

    /// Whether one of the networks contains the address.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The settings for finding a client's address, and the clients whose failed requests are not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientSettings {
    /// `FLEXGATE_TRUSTED_PROXIES`: the number of proxies that append to `X-Forwarded-For`.
    trusted_proxies: usize,
    /// `FLEXGATE_TRUSTED_NETWORKS`: the networks of clients whose failed requests are not limited.
    trusted_networks: Networks,
}

impl ClientSettings {
    /// Reads this group of settings.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let proxies = match reader.or("FLEXGATE_TRUSTED_PROXIES", 0) {
            Some(proxies) if proxies > MOST_PROXIES => {
                reader.wrong("FLEXGATE_TRUSTED_PROXIES", format!("must be from 0 to {MOST_PROXIES}"))
            }
            proxies => proxies,
        };
        let networks = reader.optional("FLEXGATE_TRUSTED_NETWORKS", |text| Networks::read(text.split(',')));
        Some(Self { trusted_proxies: proxies?, trusted_networks: networks?.unwrap_or_default() })
    }

    /// The number of trusted proxies in front of Flexgate.
    #[must_use]
    pub fn trusted_proxies(&self) -> usize {
        self.trusted_proxies
    }

    /// Returns the request's client. `None` if the client's address is unknown or in a trusted network.
    pub(super) fn untrusted(&self, peer: Option<Peer>, headers: &HeaderMap) -> Option<ClientNetwork> {
        let address = self.address(peer?, headers);
        (!self.trusted_networks.contain(address)).then(|| ClientNetwork::of(address))
    }

    /// Returns the client's address: the entry that the outermost trusted proxy has appended to `X-Forwarded-For`, or
    /// else the connection's address.
    pub(super) fn address(&self, peer: Peer, headers: &HeaderMap) -> IpAddr {
        if peer.source == PeerSource::Cdn {
            return peer.address;
        }
        let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
        // If a header's value is not text, it counts as one invalid entry.
        let entries = lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(','));
        let mut entries = entries.map(|entry| unverified_address(entry.trim())).peekable();
        if peer.source == PeerSource::ApiGateway && entries.peek() == Some(&Some(peer.address)) {
            entries.next();
        }
        let from_proxy = self.trusted_proxies.checked_sub(1).and_then(|index| entries.nth(index));
        from_proxy.flatten().unwrap_or(peer.address)
    }
}

/// Reads an entry of `X-Forwarded-For`, with or without a port.
fn unverified_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || SocketAddr::from_str(text).map(|address| address.ip());
    bare.parse().or_else(|_| with_port()).ok()
}

/// Reads a network such as `203.0.113.0/24`, or a single address.
fn network(text: &str) -> Result<IpNet, &'static str> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match network.map_err(|_| "must be networks, like 203.0.113.0/24, comma-separated")? {
        network if network.prefix_len() == 0 => Err("must not contain a network of all addresses"),
        network => Ok(network),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(proxies: &str, networks: &str) -> Result<ClientSettings, String> {
        let variables = [("FLEXGATE_TRUSTED_PROXIES", proxies), ("FLEXGATE_TRUSTED_NETWORKS", networks)];
        let mut reader = Reader::empty().with(variables);
        let settings = ClientSettings::read(&mut reader);
        reader.finish(settings).map_err(|error| error.to_string())
    }

    fn forwarded(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (X_FORWARDED_FOR, line.parse().unwrap())).collect()
    }

    /// Returns the client of a request on a connection from 10.0.0.9.
    fn client(proxies: &str, lines: &[&str]) -> String {
        let peer = Peer::of_connection("10.0.0.9".parse().unwrap());
        let client = settings(proxies, "").unwrap().untrusted(Some(peer), &forwarded(lines));
        client.unwrap().to_string()
    }

    #[test]
    fn r75_a_client_cannot_choose_its_address() {
        assert_eq!(client("0", &["192.0.2.1"]), "10.0.0.9");
        assert_eq!(client("1", &["192.0.2.1, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("1", &["192.0.2.1", "198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("2", &["192.0.2.1,198.51.100.7,10.0.0.3"]), "198.51.100.7");
        assert_eq!(client("2", &["192.0.2.1", "198.51.100.7, 10.0.0.3"]), "198.51.100.7");
    }

    #[test]
    fn r75_without_a_usable_entry_the_address_is_that_of_the_connection() {
        for lines in [&[][..], &[""], &["192.0.2.1"], &["192.0.2.1, unknown, 10.0.0.3"], &[",,,"]] {
            assert_eq!(client("2", lines), "10.0.0.9", "{lines:?}");
        }
        let mut headers = forwarded(&["192.0.2.1"]);
        headers.append(X_FORWARDED_FOR, http::HeaderValue::from_bytes(b"\xff").unwrap());
        let peer = Peer::of_connection("10.0.0.9".parse().unwrap());
        let client = settings("1", "").unwrap().untrusted(Some(peer), &headers).unwrap();
        assert_eq!(client.to_string(), "10.0.0.9");
        assert_eq!(settings("1", "").unwrap().untrusted(None, &forwarded(&["192.0.2.1"])), None);
    }

    #[test]
    fn r75_entries_may_have_a_port_and_mapped_addresses_are_ipv4() {
        for entry in ["192.0.2.1:4711", "::ffff:192.0.2.1", "[::ffff:192.0.2.1]:80", "[::ffff:192.0.2.1]"] {
            assert_eq!(client("1", &[entry]), "192.0.2.1", "{entry}");
        }
        for entry in ["2001:db8:1:2:3:4:5:6", "[2001:db8:1:2::1]:443", "[2001:db8:1:2:ffff::]"] {
            assert_eq!(client("1", &[entry]), "2001:db8:1:2::/64", "{entry}");
        }
        assert_ne!(client("1", &["2001:db8:1:3::1"]), client("1", &["2001:db8:1:2::1"]));
    }

    #[test]
    fn r75_api_gateway_appends_the_address_that_connected_to_it() {
        let peer = Peer::of_api_gateway("198.51.100.7").unwrap();
        let client = |proxies: &str, lines: &[&str]| {
            settings(proxies, "").unwrap().untrusted(Some(peer), &forwarded(lines)).unwrap().to_string()
        };
        assert_eq!(client("0", &["192.0.2.1, 198.51.100.7"]), "198.51.100.7");
        // The trusted proxy is a CDN in front of API Gateway. API Gateway appends the CDN's address to
        // `X-Forwarded-For`, and the entry before the CDN's address is the client's. If the CDN's address is missing,
        // the last entry is the client's.
        assert_eq!(client("1", &["203.0.113.5, 192.0.2.1, 198.51.100.7"]), "192.0.2.1");
        assert_eq!(client("1", &["203.0.113.5, 192.0.2.1"]), "192.0.2.1");
        assert_eq!(client("1", &["198.51.100.7"]), "198.51.100.7");
    }

    #[test]
    fn r75_trusted_networks_are_exempt() {
        let settings = settings("0", "203.0.113.0/24, 2001:db8:5::/48 ,192.0.2.9,").unwrap();
        let client =
            |address: &str| settings.untrusted(Some(Peer::of_connection(address.parse().unwrap())), &HeaderMap::new());
        for trusted in ["203.0.113.250", "::ffff:203.0.113.1", "2001:db8:5:7::1", "192.0.2.9"] {
            assert_eq!(client(trusted), None, "{trusted}");
        }
        for other in ["203.0.114.1", "2001:db8:6::1", "192.0.2.8"] {
            assert!(client(other).is_some(), "{other}");
        }
    }

    #[test]
    fn a_prefix_keeps_24_bits_of_ipv4_and_48_of_ipv6() {
        for (address, prefix) in [
            ("203.0.113.77", "203.0.113.0/24"),
            ("::ffff:203.0.113.77", "203.0.113.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ] {
            assert_eq!(network_prefix(address.parse().unwrap()), prefix);
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        for (proxies, networks) in [
            ("11", ""),
            ("-1", ""),
            ("one", ""),
            ("0", "office"),
            ("0", "10.0.0.0/33"),
            ("0", "0.0.0.0/0"),
            ("0", "::/0"),
        ] {
            let error = settings(proxies, networks).unwrap_err();
            assert!(error.contains("_TRUSTED_"), "{proxies} {networks}: {error}");
        }
    }
}
