//! The checks of `flexgate doctor`: first the settings, then the store and the secrets, then Twilio and other services.

use std::time::Duration;

use flexgate::authn::{Issuer, LEEWAY, Verifier};
use flexgate::base::clock_rng::ClockRng;
use flexgate::base::error_chain::with_causes;
use flexgate::base::outbound::Deadline;
use flexgate::base::seal::KeyRing;
use flexgate::domain::SsoProfile;
use flexgate::platform::{Common, Platform, PlatformError};
use flexgate::secrets::{CachedSecret, Credential as TwilioCredential, SecretError};
use flexgate::store::StoreAt;
use flexgate::twilio::{CredentialSettings, RedirectUrl, Sso, TwilioError};
use flexgate_provision::TokenHashes;
use flexgate_webhooks::WebhookSettings;
use serde::de::DeserializeOwned;

use super::finding::{Finding, Status};
use super::groups::Groups;
use super::{people, queue};

/// The time limit of one check.
const PATIENCE: Duration = Duration::from_secs(8);
/// The doctor warns if this machine's clock differs from Twilio's by more than this, in seconds.
const DRIFT: i64 = 5;

/// Returns advice about a request to Twilio that failed with this error.
fn advice(common: &Common, error: &TwilioError) -> String {
    match error {
        TwilioError::Intercepted(_) => {
            "let this machine send requests to *.twilio.com, without a login at the proxy".to_owned()
        }
        _ => network(common),
    }
}

/// Returns advice for the case that Twilio, or the server in `FLEXGATE_TWILIO_URL`, cannot be reached.
fn network(common: &Common) -> String {
    match common.endpoints.stand_in() {
        Some(url) => format!(
            "FLEXGATE_TWILIO_URL names {url}: start what listens there (the simulator, with cargo run) or unset it"
        ),
        None => "check the network, a proxy in between, and https://status.twilio.com".to_owned(),
    }
}

/// Runs all checks. Returns the findings in the order in which an operator should fix them.
pub(super) async fn all(groups: &Groups, clock_rng: &ClockRng) -> Vec<Finding> {
    let mut findings = settings(groups);
    let Some(common) = &groups.common else {
        let text = "nothing else was looked at, for these settings come first";
        findings.push(Finding::warning("settings", text, "correct them and run flexgate doctor again"));
        return findings;
    };
    let platform = match store(common, clock_rng, &mut findings).await {
        Ok(platform) => platform,
        Err(error) => {
            findings.push(Finding::failure("settings", error.to_string(), "correct FLEXGATE_CA_FILE"));
            return findings;
        }
    };
    if findings.iter().any(|finding| finding.check == "store" && finding.status == Status::Failure) {
        let skipped = |check| Finding::warning(check, "skipped: the store cannot be used", "mend the store first");
        findings.extend(["queue", "dead letters", "sweep"].map(skipped));
    } else {
        findings.extend(queue::check(&platform).await);
        findings.extend(people::check(&platform).await);
    }
    if let Some(sign_in) = &groups.sign_in {
        findings.push(cookie_keys(&platform, &sign_in.cookie_keys_secret_id).await);
    }
    if let Some(credential) = &groups.credential {
        findings.extend(twilio(common, credential, &platform).await);
    }
    if let Some(webhooks) = groups.webhooks.as_ref().filter(|webhooks| !webhooks.sources.is_empty()) {
        findings.push(webhook_secrets(webhooks, &platform).await);
    }
    if let Some(scim) = &groups.scim {
        findings.push(scim_tokens(&platform, &scim.tokens_secret_id).await);
    }
    let sso = platform.sso(common);
    if let Some(sign_in) = &groups.sign_in {
        for profile in sign_in.profiles.iter() {
            findings.push(sso_profile(common, &sso, profile).await);
        }
        if sign_in.profiles.iter().next().is_none() {
            let text = "no SSO profile is configured: nobody can sign in";
            findings.push(Finding::warning("sso", text, "set FLEXGATE_SSO_PROFILES if people sign in through SSO"));
        }
    }
    if let Some(caller) = &groups.caller {
        let verifier = Verifier::new(caller.issuers.clone(), platform.http.clone(), clock_rng.clone());
        findings.extend(issuers(&verifier).await);
        if caller.issuers.len() > 1 && !caller.issuers.iter().any(Issuer::may_claim_somebody) {
            let text = "several issuers are trusted, and none may claim a Flex user: first mints are refused";
            let remedy = "set may_claim for the issuer of the people (docs/issuers.md), unless all are bound or new";
            findings.push(Finding::warning("issuer", text, remedy));
        }
        if caller.issuers.is_empty() {
            let text = "no issuer is configured: /token and /users answer 501";
            let remedy = "set FLEXGATE_ISSUERS if anybody mints or provisions; SSO does not need it";
            findings.push(Finding::warning("issuer", text, remedy));
        }
    }
    findings.push(clock(common, &sso, clock_rng).await);
    findings
}

fn settings(groups: &Groups) -> Vec<Finding> {
    let renamed = |(old, new): &(&str, &str)| {
        let text = format!("{old} is an old name of {new}");
        Finding::warning("settings", text, format!("rename it to {new}"))
    };
    let mut findings: Vec<Finding> = groups.old_names.iter().map(renamed).collect();
    findings.extend(groups.unknown.iter().map(|(name, nearest)| {
        let remedy = match nearest {
            Some(nearest) => format!("is {nearest} meant? see docs/configuration.md"),
            None => "see docs/configuration.md for the variables".to_owned(),
        };
        Finding::warning("settings", format!("{name} is no variable of Flexgate's"), remedy)
    }));
    if groups.mistakes.is_empty() {
        findings.push(Finding::ok("settings", "every variable is well formed"));
    }
    let mistake = |mistake: &flexgate::base::settings::VariableError| {
        let remedy = format!("correct {} (docs/configuration.md)", mistake.variable);
        Finding::failure("settings", format!("{} {}", mistake.variable, mistake.problem), remedy)
    };
    findings.extend(groups.mistakes.iter().map(mistake));
    findings
}

/// Builds the platform (the store, the HTTP client and the secrets), and checks that the store can be written. If the
/// store cannot be opened, uses a temporary store, so that the other checks can run.
async fn store(common: &Common, clock_rng: &ClockRng, findings: &mut Vec<Finding>) -> Result<Platform, PlatformError> {
    let remedy = "the folder in FLEXGATE_STORE must exist and the file be this user's to read and write";
    let now = clock_rng.now();
    match Platform::new(common, clock_rng.clone()) {
        Ok(platform) => {
            let what = format!("{}", now.unix_timestamp_nanos());
            findings.push(match platform.once_only().claim("doctor", &what, now, now).await {
                Ok(_) => Finding::ok("store", "it can be read and written"),
                Err(_) => Finding::failure("store", "it cannot be written (FLEXGATE_STORE)", remedy),
            });
            Ok(platform)
        }
        Err(PlatformError::Store(error)) => {
            findings.push(Finding::failure("store", "it cannot be opened (FLEXGATE_STORE)", remedy));
            let Ok(folder) = tempfile::tempdir() else { return Err(PlatformError::Store(error)) };
            let spare = StoreAt::Sqlite(folder.path().join("spare.db"));
            Platform::new(&Common { store: spare, ..common.clone() }, clock_rng.clone())
        }
        Err(error) => Err(error),
    }
}

async fn cookie_keys(platform: &Platform, id: &str) -> Finding {
    match secret::<KeyRing>(platform, id).await {
        Ok(_) => Finding::ok("cookie keys", format!("the secret {id} holds them")),
        Err(error) => {
            let remedy = "write {\"current\": \"1\", \"keys\": {\"1\": \"<openssl rand -base64 32>\"}} to it";
            Finding::failure("cookie keys", with_causes(&error), secret_remedy(&error, "COOKIE_KEYS_SECRET_ID", remedy))
        }
    }
}

async fn webhook_secrets(webhooks: &WebhookSettings, platform: &Platform) -> Finding {
    match flexgate_webhooks::App::start(webhooks, platform).await {
        Ok(_) => Finding::ok("webhooks", format!("the secret {} holds one for every source", webhooks.secret_id)),
        Err(error) => Finding::failure(
            "webhooks",
            with_causes(&error),
            "correct that secret; docs/webhooks.md says what each source needs",
        ),
    }
}

async fn scim_tokens(platform: &Platform, id: &str) -> Finding {
    match secret::<TokenHashes>(platform, id).await {
        Ok(hashes) if hashes.is_empty() => {
            let text = format!("the secret {id} holds no token, so SCIM answers every request with 401");
            Finding::warning(
                "scim",
                text,
                "if an identity system uses SCIM, write what flexgate scim token prints to it",
            )
        }
        Ok(_) => Finding::ok("scim", format!("the secret {id} holds the hashes of its tokens")),
        Err(error) => {
            let remedy = "write what flexgate scim token prints to it";
            Finding::failure("scim", with_causes(&error), secret_remedy(&error, "SCIM_TOKENS_SECRET_ID", remedy))
        }
    }
}

async fn secret<T: DeserializeOwned>(platform: &Platform, id: &str) -> Result<T, SecretError> {
    let (source, clock) = (platform.secrets.clone(), platform.clock_rng.clock.clone());
    let held = CachedSecret::<T>::new(id, source, clock).get(Deadline::after(PATIENCE)).await?;
    std::sync::Arc::into_inner(held).map(|held| held.value).ok_or(SecretError::Timeout { id: id.to_owned() })
}

fn secret_remedy(error: &SecretError, variable: &str, shape: &str) -> String {
    match error {
        SecretError::Malformed { .. } => shape.to_owned(),
        _ => format!("{variable} must name a secret that FLEXGATE_SECRETS has and this user or role may read"),
    }
}

/// Checks the Twilio secret, Twilio's answer to the credential, and the configured Flex instance.
async fn twilio(common: &Common, credential: &CredentialSettings, platform: &Platform) -> Vec<Finding> {
    let id = &credential.secret_id;
    let secret = match secret::<TwilioCredential>(platform, id).await {
        Ok(secret) => secret,
        Err(error) => {
            let shape =
                "it must be {\"accountSid\", \"authToken\"} or {\"accountSid\", \"apiKeySid\", \"apiKeySecret\"}";
            return vec![Finding::failure(
                "secret",
                with_causes(&error),
                secret_remedy(&error, "TWILIO_SECRET_ID", shape),
            )];
        }
    };
    let kind = if secret.username.starts_with("SK") { "an API key" } else { "the account's auth token" };
    let mut findings = vec![Finding::ok("secret", format!("the secret {id} holds {kind}"))];
    if secret.account_sid != common.account {
        let text = format!("the secret {id} belongs to another account than TWILIO_ACCOUNT_SID");
        findings.push(Finding::failure("credential", text, "make both the same account's"));
        return findings;
    }
    let flex = platform.flex(common, credential);
    let instance = match flex.discover(Deadline::after(PATIENCE)).await {
        Ok(instance) => instance,
        Err(error) => {
            findings.push(refused(common, &error, kind));
            return findings;
        }
    };
    // Also list one user, because a restricted API key may be able to read the configuration but not the users.
    let listed = flex.list(1, None, Deadline::after(PATIENCE)).await;
    match listed {
        Ok(_) => findings.push(Finding::ok("credential", format!("Twilio accepts {kind}, and it may read users"))),
        // "Not found" means that the configured instance is wrong. A later check reports that mistake.
        Err(TwilioError::NotFound(_)) => findings.push(Finding::ok("credential", format!("Twilio accepts {kind}"))),
        Err(error) => findings.push(refused(common, &error, kind)),
    }
    findings.push(if instance.account_sid != common.account {
        let text = format!("the credential's account is {}, not TWILIO_ACCOUNT_SID", instance.account_sid);
        Finding::failure("instance", text, "correct TWILIO_ACCOUNT_SID or the secret")
    } else if instance.instance_sid == common.instance {
        Finding::ok("instance", format!("{} is the account's Flex instance", common.instance))
    } else {
        let text = format!("the account's Flex instance is {}, not TWILIO_INSTANCE_SID", instance.instance_sid);
        Finding::failure("instance", text, format!("set TWILIO_INSTANCE_SID={}", instance.instance_sid))
    });
    findings
}

fn refused(common: &Common, error: &TwilioError, kind: &str) -> Finding {
    let (text, remedy) = match error {
        TwilioError::PermissionMissing(_) => (
            format!("Twilio knows {kind}, but it lacks permission (8001): it is a restricted API key"),
            "make a Standard API key and put it into the secret: Flex users and tokens need one".to_owned(),
        ),
        TwilioError::CredentialRejected(api) if api.code == Some(70051) => (
            format!("{kind} belongs to another account (70051)"),
            "use a credential of the account in TWILIO_ACCOUNT_SID, and check TWILIO_REGION".to_owned(),
        ),
        TwilioError::CredentialRejected(_) => (
            format!("Twilio does not accept {kind} ({error})"),
            "it was rotated, deleted or mistyped: put the present one into the secret".to_owned(),
        ),
        error => (error.to_string(), advice(common, error)),
    };
    Finding::failure("credential", text, remedy)
}

async fn sso_profile(common: &Common, sso: &Sso, profile: &SsoProfile) -> Finding {
    let name = &profile.name;
    let configuration = match sso.configuration(&profile.sid, Deadline::after(PATIENCE)).await {
        Ok(Some(configuration)) => configuration,
        Ok(None) => {
            let text = format!("Twilio has no active SSO configuration for the profile {name} ({})", profile.sid);
            return Finding::failure(
                "sso",
                text,
                "activate it in the Console's Flex SSO settings, or correct FLEXGATE_SSO_PROFILES",
            );
        }
        Err(error) => return Finding::failure("sso", format!("the profile {name}: {error}"), advice(common, &error)),
    };
    let origin = common.public_url.as_str().trim_end_matches('/');
    let callback = format!("{origin}/sso/{name}/callback");
    match sso.probe_redirect_url(&configuration, &callback, Deadline::after(PATIENCE)).await {
        Ok(RedirectUrl::Trusted) => Finding::ok("sso", format!("the profile {name} is active and trusts {callback}")),
        Ok(RedirectUrl::Untrusted) => {
            let text = format!("Twilio does not trust {callback} (70251)");
            Finding::failure("sso", text, "add exactly this URL to Trusted URLs in the Console's Flex SSO settings")
        }
        Ok(RedirectUrl::Unclear(status)) => {
            let text =
                format!("the profile {name} is active; whether {callback} is trusted is unclear (status {status})");
            Finding::warning("sso", text, "see that Trusted URLs in the Console's Flex SSO settings list it")
        }
        Err(error) => Finding::failure("sso", format!("the profile {name}: {error}"), advice(common, &error)),
    }
}

async fn issuers(verifier: &Verifier) -> Vec<Finding> {
    let finding = |(issuer, probed): (&str, Result<(), String>)| match probed {
        Ok(()) => Finding::ok("issuer", format!("{issuer} publishes usable keys")),
        Err(error) => {
            let remedy =
                "open its /.well-known/openid-configuration from here; correct FLEXGATE_ISSUERS or the network";
            Finding::failure("issuer", format!("{issuer}: {error}"), remedy)
        }
    };
    verifier.probe(Deadline::after(PATIENCE)).await.into_iter().map(finding).collect()
}

async fn clock(common: &Common, sso: &Sso, clock_rng: &ClockRng) -> Finding {
    let remedy = "let the machine keep its time (NTP): tokens and cookies are judged by it";
    let date = match sso.probe_time(Deadline::after(PATIENCE)).await {
        Ok(Some(date)) => date,
        Ok(None) => return Finding::warning("clock", "Twilio did not say what time it is", remedy),
        Err(error) => return Finding::failure("clock", error.to_string(), advice(common, &error)),
    };
    let off = (clock_rng.now() - date).whole_seconds();
    let text =
        format!("this machine's clock is {} s {} Twilio's", off.abs(), if off < 0 { "behind" } else { "ahead of" });
    if off.abs() > LEEWAY.whole_seconds() {
        Finding::failure("clock", text, remedy)
    } else if off.abs() > DRIFT {
        Finding::warning("clock", text, remedy)
    } else {
        Finding::ok("clock", "this machine's clock agrees with Twilio's")
    }
}
