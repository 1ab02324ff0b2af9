//! The settings of every function, and the settings that the functions mint and provision share.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use url::Url;

use crate::authn::CallerSettings;
use crate::base::settings::Reader;
use crate::domain::{AccountSid, InstanceSid};
use crate::secrets::SecretsFrom;
use crate::store::{Queues, StoreAt};
use crate::telemetry::Log;
use crate::twilio::{CredentialSettings, Endpoints, endpoints, is_loopback};
use crate::users::PolicySettings;
use crate::web::{CdnSettings, ClientSettings, PageSettings};

/// The settings of every function.
#[derive(Debug, Clone)]
pub struct Common {
    /// `TWILIO_ACCOUNT_SID`: the Twilio account.
    pub account: AccountSid,
    /// `TWILIO_INSTANCE_SID`: the Flex instance.
    pub instance: InstanceSid,
    /// `TWILIO_REGION`, or `FLEXGATE_TWILIO_URL` for a simulator.
    pub endpoints: Endpoints,
    /// `FLEXGATE_PUBLIC_URL`: the origin at which browsers reach Flexgate.
    pub public_url: Url,
    /// `FLEXGATE_ALLOWED_ORIGINS`: the origins of other front ends, separated by commas.
    pub allowed_origins: Vec<Url>,
    /// `FLEXGATE_TRUSTED_PROXIES`, `FLEXGATE_TRUSTED_NETWORKS`: how Flexgate finds a client's address, and whose failed
    /// requests it does not limit.
    pub clients: ClientSettings,
    /// `FLEXGATE_CDN_SECRET_SHA256`: the hashes of the secrets that the CDN may send. If there are any, every request
    /// must come through the CDN.
    pub cdn: CdnSettings,
    /// `FLEXGATE_PAGE_NAME`, `FLEXGATE_PAGE_LOGO`, `FLEXGATE_PAGE_HELP`: the name, logo and help link on error pages.
    pub page: PageSettings,
    /// `FLEXGATE_SECRETS`: the source of secrets.
    pub secrets: SecretsFrom,
    /// `FLEXGATE_STORE`: the store.
    pub store: StoreAt,
    /// `FLEXGATE_QUEUE`, `FLEXGATE_BULK_QUEUE`: the SQS queues, for a store in DynamoDB.
    pub queues: Queues,
    /// `FLEXGATE_REQUEST_SECONDS`: how long a request may take if Lambda sets no deadline.
    pub request_time: std::time::Duration,
    /// `FLEXGATE_PREWARM_MILLISECONDS`: how long a function on Lambda may spend on prefetching when it starts.
    pub prewarm: std::time::Duration,
    /// `FLEXGATE_CA_FILE`: additional trust roots, in PEM.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// `FLEXGATE_LOG`: the lowest levels that are logged, like `info` or `flexgate=debug`. `FLEXGATE_METRICS`: the text
    /// `emf:`, followed by the namespace of the metrics.
    pub log: Log,
}

impl Common {
    /// Reads this group of settings.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let account = reader.required("TWILIO_ACCOUNT_SID", "the account's SID, AC and 32 hexadecimal digits");
        let instance = reader.required("TWILIO_INSTANCE_SID", "the Flex instance's SID, GO and 32 hexadecimal digits");
        let endpoints = endpoints(reader);
        let public_url =
            reader.required("FLEXGATE_PUBLIC_URL", "where browsers reach Flexgate, like https://gate.example.com");
        let public_url = public_url.and_then(|url| origin_url(reader, "FLEXGATE_PUBLIC_URL", url));
        let origins = reader.optional("FLEXGATE_ALLOWED_ORIGINS", |text| {
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(Url::parse)
                .collect::<Result<Vec<_>, _>>()
        });
        let origins = origins.map(Option::unwrap_or_default);
        let allowed_origins = origins.and_then(|origins| {
            origins
                .into_iter()
                .map(|url| origin_url(reader, "FLEXGATE_ALLOWED_ORIGINS", url))
                .collect::<Option<Vec<_>>>()
        });
        let (clients, cdn) = (ClientSettings::read(reader), CdnSettings::read(reader));
        let page = PageSettings::read(reader);
        let secrets = reader.or("FLEXGATE_SECRETS", SecretsFrom::SecretsManager);
        let store = reader.required("FLEXGATE_STORE", "where to store data: dynamodb:TABLE or sqlite:FILE");
        let queues = Queues::read(reader);
        let request_seconds = reader.seconds("FLEXGATE_REQUEST_SECONDS", 10, 1..=900);
        let prewarm = reader.milliseconds("FLEXGATE_PREWARM_MILLISECONDS", 1_000, 0..=5_000);
        let extra_roots = reader.optional("FLEXGATE_CA_FILE", |path| {
            let certificates = CertificateDer::pem_file_iter(path).map_err(|_| "names no readable PEM file")?;
            certificates.collect::<Result<Vec<_>, _>>().map_err(|_| "holds something that is not a certificate")
        });
        let levels = reader.or("FLEXGATE_LOG", "info".to_owned());
        let metrics = reader.optional("FLEXGATE_METRICS", |text| match text.split_once(':') {
            Some(("emf", namespace)) if !namespace.is_empty() => Ok(namespace.to_owned()),
            _ => Err("must be emf: and a namespace, like emf:Flexgate"),
        });
        Some(Self {
            account: account?,
            instance: instance?,
            endpoints: endpoints?,
            public_url: public_url?,
            allowed_origins: allowed_origins?,
            clients: clients?,
            cdn: cdn?,
            page: page?,
            secrets: secrets?,
            store: store?,
            queues: queues?,
            request_time: std::time::Duration::from_secs(request_seconds?.into()),
            prewarm: std::time::Duration::from_millis(prewarm?.into()),
            extra_roots: extra_roots?.unwrap_or_default(),
            log: Log { levels: levels?, metrics: metrics?, old_names: reader.old_names() },
        })
    }
}

/// Checks that `url` is an origin: https (or http on the local machine), a host, perhaps a port, and nothing else.
fn origin_url(reader: &mut Reader, variable: &'static str, url: Url) -> Option<Url> {
    let safe = match url.scheme() {
        "https" => true,
        "http" => is_loopback(&url),
        _ => false,
    };
    // Browsers never send a wildcard as an origin, so an origin with a wildcard would match no request.
    let bare = url.as_str() == format!("{}/", url.origin().ascii_serialization()) && !url.as_str().contains('*');
    if safe && bare {
        return Some(url);
    }
    let must =
        "must be https, or http on localhost, with only a host and a port, and no wildcard: https://gate.example.com";
    reader.wrong(variable, must)
}

/// The settings that the functions mint and provision share.
#[derive(Debug, Clone)]
pub struct OwnerSettings {
    /// The settings of every function.
    pub common: Common,
    /// The Twilio credential.
    pub credential: CredentialSettings,
    /// The issuers whose tokens Flexgate trusts.
    pub caller: CallerSettings,
    /// The policy: who may have which roles and tokens.
    pub policy: PolicySettings,
}

impl OwnerSettings {
    /// Reads these groups of settings.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let (common, credential) = (Common::read(reader), CredentialSettings::read(reader));
        let (caller, policy) = (CallerSettings::read(reader), PolicySettings::read(reader));
        Some(Self { common: common?, credential: credential?, caller: caller?, policy: policy? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_nothing_but_a_host_and_a_port() {
        let read = |text: &str| {
            let mut reader = Reader::empty();
            let origin = origin_url(&mut reader, "FLEXGATE_ALLOWED_ORIGINS", text.parse().unwrap());
            reader.finish(origin).is_ok()
        };
        for origin in ["https://desk.example", "https://desk.example:8443/", "http://localhost:3000", "https://[::1]"] {
            assert!(read(origin), "{origin}");
        }
        for other in [
            "http://desk.example",
            "https://desk.example/a",
            "https://desk.example/?",
            "https://desk.example/#",
            "https://ada@desk.example",
            "https://:secret@desk.example",
            "https://*.example",
            "file:///desk",
        ] {
            assert!(!read(other), "{other}");
        }
    }
}
