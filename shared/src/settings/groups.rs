//! The groups of variables, each with what it means and what it defaults to.

use std::path::PathBuf;
use std::str::FromStr;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use time::Duration;
use url::Url;

use super::Reader;
use crate::caller::{Issuer, issuers};
use crate::domain::policy::{JustInTime, Policy};
use crate::domain::{AccountSid, InstanceSid, Role, RoleSet, SsoProfiles, TokenTtl};
use crate::signin::Lifetimes;
use crate::telemetry::Log;
use crate::twilio::{Endpoints, is_loopback};

/// What every function is told.
#[derive(Debug, Clone)]
pub struct Common {
    /// `TWILIO_ACCOUNT_SID`.
    pub account: AccountSid,
    /// `TWILIO_INSTANCE_SID`.
    pub instance: InstanceSid,
    /// `TWILIO_REGION`, or `FLEXGATE_TWILIO_URL` for a simulator.
    pub endpoints: Endpoints,
    /// `FLEXGATE_PUBLIC_URL`: where browsers see Flexgate. Only its origin counts.
    pub public_url: Url,
    /// `FLEXGATE_ALLOWED_ORIGINS`: other origins of front ends, comma-separated.
    pub allowed_origins: Vec<Url>,
    /// `FLEXGATE_SECRETS`.
    pub secrets: SecretsFrom,
    /// `FLEXGATE_STORE`.
    pub store: StoreAt,
    /// `FLEXGATE_QUEUE`: the SQS queue's URL, where the store is DynamoDB and events are sent.
    pub queue: Option<String>,
    /// `FLEXGATE_REQUEST_SECONDS`: how long a request may take where its host sets no deadline.
    pub request_time: std::time::Duration,
    /// `FLEXGATE_AHEAD_MILLISECONDS`: how long a function on Lambda may fetch ahead at its start.
    pub ahead: std::time::Duration,
    /// `FLEXGATE_CA_FILE`: additional trust roots, PEM.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// `FLEXGATE_LOG`: which levels are logged, `info` or `flexgate=debug`. `FLEXGATE_METRICS`: `emf:` and
    /// the namespace of the metrics.
    pub log: Log,
}

/// Where secrets are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretsFrom {
    /// `aws`: Secrets Manager. The default.
    SecretsManager,
    /// `files:FOLDER`: one JSON document each.
    Files(PathBuf),
}

impl FromStr for SecretsFrom {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "aws" => Ok(Self::SecretsManager),
            Some(("files", folder)) if !folder.is_empty() => Ok(Self::Files(folder.into())),
            _ => Err("must be aws, or files: and a folder, like files:/etc/flexgate/secrets"),
        }
    }
}

/// Where Flexgate remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreAt {
    /// `sqlite:FILE`.
    #[cfg(feature = "local")]
    Sqlite(PathBuf),
    /// `dynamodb:TABLE`.
    DynamoDb(String),
}

impl FromStr for StoreAt {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            #[cfg(feature = "local")]
            Some(("sqlite", file)) if !file.is_empty() => Ok(Self::Sqlite(file.into())),
            Some(("dynamodb", table)) if !table.is_empty() => Ok(Self::DynamoDb(table.to_owned())),
            _ if cfg!(feature = "local") => {
                Err("must be dynamodb: and a table, or sqlite: and a file, like sqlite:/var/lib/flexgate/flexgate.db")
            }
            _ => Err("must be dynamodb: and a table, in a function built for Lambda"),
        }
    }
}

/// `FLEXGATE_QUEUE`, as [`Common::queue`] has it.
pub fn queue(reader: &mut Reader) -> Option<Option<String>> {
    reader.optional("FLEXGATE_QUEUE", |text| match text.split_once(':') {
        Some(("sqs", url)) if !url.is_empty() => Ok(url.to_owned()),
        _ => Err("must be sqs: and the queue's URL"),
    })
}

impl Common {
    /// Reads the group.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let account = reader.required("TWILIO_ACCOUNT_SID", "the account's SID, AC and 32 hexadecimal digits");
        let instance = reader.required("TWILIO_INSTANCE_SID", "the Flex instance's SID, GO and 32 hexadecimal digits");
        let endpoints = endpoints(reader);
        let public_url =
            reader.required("FLEXGATE_PUBLIC_URL", "where browsers see Flexgate, like https://gate.example.com");
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
        let secrets = reader.or("FLEXGATE_SECRETS", SecretsFrom::SecretsManager);
        let store = reader.required("FLEXGATE_STORE", "where to remember: dynamodb:TABLE or sqlite:FILE");
        let queue = queue(reader);
        let request_seconds = reader.seconds("FLEXGATE_REQUEST_SECONDS", 10, 1..=900);
        let ahead = reader.milliseconds("FLEXGATE_AHEAD_MILLISECONDS", 1_000, 0..=5_000);
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
            secrets: secrets?,
            store: store?,
            queue: queue?,
            request_time: std::time::Duration::from_secs(request_seconds?.into()),
            ahead: std::time::Duration::from_millis(ahead?.into()),
            extra_roots: extra_roots?.unwrap_or_default(),
            log: Log { levels: levels?, metrics: metrics? },
        })
    }
}

fn endpoints(reader: &mut Reader) -> Option<Endpoints> {
    let region = reader.optional("TWILIO_REGION", Endpoints::in_region);
    let address = reader.optional("FLEXGATE_TWILIO_URL", Endpoints::at);
    match (region?, address?) {
        (Some(_), Some(_)) => reader.wrong("FLEXGATE_TWILIO_URL", "cannot be set together with TWILIO_REGION"),
        (Some(endpoints), None) | (None, Some(endpoints)) => Some(endpoints),
        (None, None) => Some(Endpoints::default()),
    }
}

/// An origin: https, or http on this very machine, and nothing after the host and port.
fn origin_url(reader: &mut Reader, variable: &'static str, url: Url) -> Option<Url> {
    let safe = match url.scheme() {
        "https" => true,
        "http" => is_loopback(&url),
        _ => false,
    };
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if safe && bare {
        return Some(url);
    }
    reader.wrong(variable, "must be https, or http on localhost, with nothing after the host: https://gate.example.com")
}

/// The secret with the Twilio credential. Not for the sign-in function.
#[derive(Debug, Clone)]
pub struct Credential {
    /// `TWILIO_SECRET_ID`.
    pub secret_id: String,
}

impl Credential {
    /// Reads the group.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let hint = "the secret with accountSid and authToken (or apiKeySid and apiKeySecret)";
        Some(Self { secret_id: reader.required("TWILIO_SECRET_ID", hint)? })
    }
}

/// Sign-in through SSO.
#[derive(Debug, Clone)]
pub struct SignInSettings {
    /// `FLEXGATE_SSO_PROFILES`: `default=JQ…`, comma-separated.
    pub profiles: SsoProfiles,
    /// `COOKIE_KEYS_SECRET_ID`.
    pub cookie_keys_secret_id: String,
    /// `FLEXGATE_SESSION_SECONDS` (12 hours) and `FLEXGATE_SESSION_IDLE_SECONDS` (2 hours).
    pub lifetimes: Lifetimes,
}

impl SignInSettings {
    /// Reads the group.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let profiles = reader.required("FLEXGATE_SSO_PROFILES", "the SSO profiles, like default=JQ…");
        let keys = reader.required("COOKIE_KEYS_SECRET_ID", "the secret with the cookie keys");
        let absolute = reader.seconds("FLEXGATE_SESSION_SECONDS", 12 * 3600, 300..=7 * 86_400);
        let idle = reader.seconds("FLEXGATE_SESSION_IDLE_SECONDS", 2 * 3600, 300..=7 * 86_400);
        Some(Self {
            profiles: profiles?,
            cookie_keys_secret_id: keys?,
            lifetimes: Lifetimes {
                absolute: Duration::seconds(absolute?.into()),
                idle: Duration::seconds(idle?.into()),
            },
        })
    }
}

/// Whose tokens are trusted.
#[derive(Debug, Clone)]
pub struct CallerSettings {
    /// `FLEXGATE_ISSUERS`: a JSON array; `docs/configuration.md` has its fields.
    pub issuers: Vec<Issuer>,
}

impl CallerSettings {
    /// Reads the group.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let Some(text) = reader.text("FLEXGATE_ISSUERS").map(str::to_owned) else {
            return reader
                .wrong("FLEXGATE_ISSUERS", "is not set: a JSON array of the issuers whose tokens are trusted");
        };
        match issuers(&text) {
            Ok(issuers) => Some(Self { issuers }),
            Err(faults) => {
                for fault in faults {
                    reader.wrong::<()>("FLEXGATE_ISSUERS", fault.to_string());
                }
                None
            }
        }
    }
}

/// Who may have what.
#[derive(Debug, Clone)]
pub struct PolicySettings {
    /// `FLEXGATE_ALLOWED_ROLES` (`agent,supervisor`: `admin` is given only where it is named),
    /// `FLEXGATE_DEFAULT_ROLES` (`agent`), `FLEXGATE_JUST_IN_TIME` (`off`, `create` or
    /// `create-and-sync`), `FLEXGATE_MAX_TTL_SECONDS` (3600).
    pub policy: Policy,
    /// `FLEXGATE_MINTS_PER_MINUTE` (30): how many tokens are minted for one person.
    pub mints_per_minute: u32,
}

impl PolicySettings {
    /// Reads the group.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let allowed = reader.optional("FLEXGATE_ALLOWED_ROLES", roles);
        let default = reader.optional("FLEXGATE_DEFAULT_ROLES", roles);
        let just_in_time = reader.optional("FLEXGATE_JUST_IN_TIME", |text| match text {
            "off" => Ok(JustInTime::Off),
            "create" => Ok(JustInTime::Create),
            "create-and-sync" => Ok(JustInTime::CreateAndSync),
            _ => Err("must be off, create or create-and-sync"),
        });
        let max_ttl = reader.optional("FLEXGATE_MAX_TTL_SECONDS", |text| {
            text.parse().ok().and_then(|seconds| TokenTtl::from_seconds(seconds).ok()).ok_or("must be from 60 to 86400")
        });
        let mints_per_minute = reader.optional("FLEXGATE_MINTS_PER_MINUTE", |text| {
            text.parse()
                .ok()
                .filter(|limit| (1..=60_000).contains(limit))
                .ok_or("must be a whole number from 1 to 60000")
        });
        let policy = Policy {
            allowed_roles: allowed?.unwrap_or_else(|| RoleSet::from([Role::Agent, Role::Supervisor])),
            default_roles: default?.unwrap_or_else(|| RoleSet::from([Role::Agent])),
            just_in_time: just_in_time?.unwrap_or_default(),
            max_ttl: max_ttl?.unwrap_or(TokenTtl::DEFAULT),
        };
        Some(Self { policy, mints_per_minute: mints_per_minute?.unwrap_or(30) })
    }
}

/// What a function is told that acts for the account's owner: mint and provision.
#[derive(Debug, Clone)]
pub struct OwnerSettings {
    /// What every function is told.
    pub common: Common,
    /// The Twilio credential.
    pub credential: Credential,
    /// Whose tokens are trusted.
    pub caller: CallerSettings,
    /// Who may have what.
    pub policy: PolicySettings,
}

impl OwnerSettings {
    /// Reads the groups.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let (common, credential) = (Common::read(reader), Credential::read(reader));
        let (caller, policy) = (CallerSettings::read(reader), PolicySettings::read(reader));
        Some(Self { common: common?, credential: credential?, caller: caller?, policy: policy? })
    }
}

/// A comma-separated list of roles; `none` is the empty one.
fn roles(text: &str) -> Result<RoleSet, &'static str> {
    if text == "none" {
        return Ok(RoleSet::new());
    }
    let roles: Result<RoleSet, _> = text.split(',').map(|role| role.trim().parse::<Role>()).collect();
    roles.map_err(|_| "must be a comma-separated list of agent, supervisor and admin, or none")
}
