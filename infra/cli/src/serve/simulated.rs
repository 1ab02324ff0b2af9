//! A complete set-up against the simulator: every setting, every secret, made up on the spot.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flexgate::base::clock_rng::{SystemRng, random};
use flexgate::base::settings::Reader;
use flexgate_provision::NewToken;
use flexgate_simulator::{AUDIENCE, Config, Simulator};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

/// Variables that describe the simulated set-up itself. What the environment says about real Twilio is
/// not heard here: nobody's account is touched by trying Flexgate out.
const OURS: [&str; 5] =
    ["FLEXGATE_TWILIO_URL", "FLEXGATE_PUBLIC_URL", "FLEXGATE_SECRETS", "FLEXGATE_STORE", "FLEXGATE_SSO_PROFILES"];

/// Where the set-up keeps the SCIM token itself, for trying SCIM out. Elsewhere it is shown once.
pub const SCIM_TOKEN_FILE: &str = "scim-token";

/// Where it writes its settings, for a shell: with them, operators' commands work against it.
pub const ENVIRONMENT_FILE: &str = "environment";

/// The set-up.
#[derive(Debug)]
pub struct Simulated<'a> {
    /// Where state is kept.
    pub data_dir: &'a Path,
    /// The gateway's port.
    pub gateway: u16,
    /// Where the simulator listens.
    pub simulator: SocketAddr,
    /// Where it listens with TLS.
    pub tls: Option<SocketAddr>,
}

impl Simulated<'_> {
    /// Starts the simulator; the reader holds the gateway's settings.
    pub async fn start(&self) -> Result<(Simulator, Reader), Box<dyn Error>> {
        std::fs::create_dir_all(self.data_dir).map_err(|error| {
            format!("cannot make the folder {} ({error}): choose another with --data-dir", self.data_dir.display())
        })?;
        let public_url = format!("http://localhost:{}", self.gateway);
        let simulator = Simulator::start(Config {
            http: self.simulator,
            tls: self.tls,
            data_dir: Some(self.data_dir.join("simulator")),
            trusted_urls: vec![format!("{public_url}/sso/default/callback")],
            ..Config::default()
        })
        .await?;
        let data_dir = std::path::absolute(self.data_dir)?;
        let secrets = data_dir.join("secrets");
        write_secrets(&secrets, &simulator)?;
        write_scim_token(&secrets, &self.data_dir.join(SCIM_TOKEN_FILE))?;

        let account = simulator.account();
        let issuers = json!([{
            "issuer": simulator.issuer(),
            "audiences": [AUDIENCE],
            "roles_claim": "roles",
        }]);
        let made_up = [
            ("TWILIO_ACCOUNT_SID", account.account_sid.clone()),
            ("TWILIO_INSTANCE_SID", account.instance_sid.clone()),
            ("TWILIO_SECRET_ID", "twilio".to_owned()),
            ("COOKIE_KEYS_SECRET_ID", "cookie-keys".to_owned()),
            ("SCIM_TOKENS_SECRET_ID", "scim-tokens".to_owned()),
            ("FLEXGATE_TWILIO_URL", simulator.url().to_owned()),
            ("FLEXGATE_PUBLIC_URL", public_url),
            ("FLEXGATE_SECRETS", format!("files:{}", secrets.display())),
            ("FLEXGATE_STORE", format!("sqlite:{}", data_dir.join("flexgate.db").display())),
            ("FLEXGATE_SSO_PROFILES", format!("default={}", account.sso_profile_sid)),
            ("FLEXGATE_ISSUERS", issuers.to_string()),
            ("FLEXGATE_JUST_IN_TIME", "create".to_owned()),
            ("WEBHOOK_SECRETS_SECRET_ID", "webhook-secrets".to_owned()),
            ("FLEXGATE_WEBHOOKS", json!({ "standard": {} }).to_string()),
        ];
        write_environment(&self.data_dir.join(ENVIRONMENT_FILE), &made_up)?;
        let chosen = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with("FLEXGATE_"))?;
            Some((name, value.into_string().ok()?)).filter(|(name, _)| !OURS.contains(&name.as_str()))
        });
        Ok((simulator, Reader::empty().with(made_up).with(chosen)))
    }
}

/// The credential as it is now; cookie keys and the webhook secret once, so that sessions and whoever
/// signs webhooks survive a restart.
fn write_secrets(folder: &Path, simulator: &Simulator) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let account = simulator.account();
    write_private(
        &folder.join("twilio.json"),
        &json!({ "accountSid": account.account_sid, "authToken": account.auth_token }),
    )?;
    let keys = folder.join("cookie-keys.json");
    if !keys.exists() {
        let key = STANDARD.encode(random::<32>(&SystemRng));
        write_private(&keys, &json!({ "current": "1", "keys": { "1": key } }))?;
    }
    let webhooks = folder.join("webhook-secrets.json");
    if !webhooks.exists() {
        let secret = format!("whsec_{}", STANDARD.encode(random::<32>(&SystemRng)));
        write_private(&webhooks, &json!({ "standard": secret }))?;
    }
    Ok(())
}

/// A token for SCIM, once, and its hash.
fn write_scim_token(secrets: &Path, token_file: &Path) -> Result<(), Box<dyn Error>> {
    let hashes = secrets.join("scim-tokens.json");
    if !(hashes.exists() && token_file.exists()) {
        let made = NewToken::generate("simulated", &SystemRng);
        write_private_text(token_file, made.token.expose_secret())?;
        write_private(&hashes, &serde_json::to_value(&made.hashes)?)?;
    }
    Ok(())
}

/// The settings as lines for `. FILE`. No secret is among them: they name secrets.
fn write_environment(path: &Path, settings: &[(&str, String)]) -> std::io::Result<()> {
    let line = |(name, value): &(&str, String)| format!("export {name}='{}'\n", value.replace('\'', "'\\''"));
    write_private_text(path, &settings.iter().map(line).collect::<String>())
}

/// Writes a file that only its owner can read.
fn write_private(path: &Path, document: &Value) -> std::io::Result<()> {
    write_private_text(path, &document.to_string())
}

fn write_private_text(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}
