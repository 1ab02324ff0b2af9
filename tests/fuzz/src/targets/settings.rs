//! Fuzzes settings and secret documents. The first line of an input is the name of the setting or secret, and the rest
//! is its value.

use flexgate::authn::CallerSettings;
use flexgate::base::seal::{KeyRing, Purpose};
use flexgate::base::settings::Reader;
use flexgate::base::strict_json;
use flexgate::domain::{Role, SourceName};
use flexgate::platform::Common;
use flexgate::users::PolicySettings;
use flexgate_provision::{ScimSettings, TokenHashes};
use flexgate_sso::SignInSettings;
use flexgate_webhooks::{WebhookSecrets, WebhookSettings};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use url::Url;

use crate::Outcome;
use crate::world::{Numbers, variables};

/// Checks that an accepted setting never allows everybody or everything, and that it has only one possible meaning.
pub(crate) fn run(input: &[u8]) -> Outcome {
    let Some((name, text)) = std::str::from_utf8(input).ok().and_then(|text| text.split_once('\n')) else {
        return Outcome::Refused;
    };
    match name {
        "cookie-keys" => cookie_keys(text),
        "scim-tokens" => scim_tokens(text),
        "webhook-secrets" => webhook_secrets(text),
        _ => variable(name, text),
    }
}

fn variable(name: &str, text: &str) -> Outcome {
    // Do not fuzz this variable, because reading it opens a file.
    if name == "FLEXGATE_CA_FILE" || text.trim().is_empty() {
        return Outcome::Refused;
    }
    let mut reader = Reader::empty().with(variables()).with([(name, text)]);
    let common = Common::read(&mut reader);
    let sign_in = SignInSettings::read(&mut reader, common.as_ref());
    let (caller, policy) = (CallerSettings::read(&mut reader), PolicySettings::read(&mut reader));
    let (webhooks, scim) = (WebhookSettings::read(&mut reader), ScimSettings::read(&mut reader));
    let all = || Some((common?, sign_in?, caller?, policy?, webhooks?, scim?));
    let all = all();
    let (common, sign_in, caller, policy, _, _) = match reader.finish(all) {
        Ok(all) => all,
        Err(error) => {
            assert!(!error.variables().is_empty(), "a refusal without a reason");
            return Outcome::Refused;
        }
    };
    is_origin(&common.public_url);
    common.allowed_origins.iter().for_each(is_origin);
    if name == "FLEXGATE_ISSUERS" {
        issuers(&caller, text);
    }
    if ["FLEXGATE_ISSUERS", "FLEXGATE_WEBHOOKS", "FLEXGATE_SCIM_GROUP_ROLES"].contains(&name) {
        assert!(strict_json::parse(text.trim().as_bytes()).is_ok(), "{name} has two meanings: {text}");
    }
    let default = sign_in.destinations.default().as_str();
    let landed = common.public_url.join(default).unwrap().origin();
    let known = std::iter::once(&common.public_url).chain(&common.allowed_origins);
    assert!(known.map(Url::origin).any(|origin| origin == landed), "the default leads to {default}");
    let admin = |text: &str| text.contains("admin");
    assert!(!policy.policy.allowed_roles.contains(&Role::Admin) || admin(text), "nobody allowed this role");
    assert!((60..=86_400).contains(&policy.policy.max_ttl.seconds()));
    assert!((1..=60_000).contains(&policy.mints_per_minute));
    Outcome::Accepted
}

/// Checks that the URL is an origin without wildcard, path or user. The scheme must be https. For an origin on this
/// machine, it may also be http.
fn is_origin(url: &Url) {
    assert!(url.origin().is_tuple(), "{url}");
    let host = url.host_str().unwrap();
    let is_local = host == "localhost" || host.ends_with(".localhost") || host.starts_with("127.") || host == "[::1]";
    assert!(url.scheme() == "https" || (url.scheme() == "http" && is_local), "{url}");
    assert!(!host.contains('*') && url.path() == "/" && url.query().is_none() && url.fragment().is_none(), "{url}");
    assert!(url.username().is_empty() && url.password().is_none(), "{url}");
}

fn issuers(caller: &CallerSettings, text: &str) {
    let document: Value = serde_json::from_str(text).unwrap();
    let items = document.as_array().unwrap();
    assert_eq!(caller.issuers.len(), items.len());
    for (issuer, item) in caller.issuers.iter().zip(items) {
        assert_eq!(issuer.name(), item["issuer"].as_str().unwrap());
        let audiences = item["audiences"].as_array().unwrap();
        assert!(!audiences.is_empty() && audiences.iter().all(|one| !one.as_str().unwrap().is_empty()), "{text}");
        assert!(items.len() == 1 || !issuer.may_claim_somebody() || item["may_claim"].is_array(), "{text}");
    }
}

fn cookie_keys(text: &str) -> Outcome {
    let Ok(ring) = serde_json::from_str::<KeyRing>(text) else { return Outcome::Refused };
    let sealed = ring.seal(b"plain", Purpose(&["fuzz"]), &Numbers::default()).unwrap();
    assert!(sealed.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "{sealed}");
    assert_eq!(&**ring.open(&sealed, Purpose(&["fuzz"])).unwrap(), b"plain");
    assert!(ring.open(&sealed, Purpose(&["another"])).is_err());
    Outcome::Accepted
}

fn scim_tokens(text: &str) -> Outcome {
    let Ok(hashes) = serde_json::from_str::<TokenHashes>(text) else { return Outcome::Refused };
    let written = serde_json::to_value(&hashes).unwrap();
    let tokens = written["tokens"].as_array().unwrap();
    assert!(tokens.len() <= 2 && tokens.is_empty() == hashes.is_empty());
    let again: TokenHashes = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(serde_json::to_value(&again).unwrap(), written);
    Outcome::of(!hashes.is_empty())
}

fn webhook_secrets(text: &str) -> Outcome {
    let Ok(secrets) = serde_json::from_str::<WebhookSecrets>(text) else { return Outcome::Refused };
    let source: SourceName = "okta".parse().unwrap();
    let Ok(of_source) = secrets.of(&source) else { return Outcome::Refused };
    assert!((1..=2).contains(&of_source.len()));
    for secret in of_source {
        let secret = secret.expose_secret();
        assert!(secret.len() >= 16 && !secret.trim().is_empty(), "a weak secret");
    }
    Outcome::Accepted
}
