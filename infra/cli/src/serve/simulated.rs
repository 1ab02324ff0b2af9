//! A complete set-up with the simulator instead of Twilio. This module generates the set-up's settings and secrets.

use std::error::Error;
use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flexgate::base::clock_rng::{SystemRng, random};
use flexgate::base::error_chain::with_causes;
use flexgate::base::settings::Reader;
use flexgate_provision::NewToken;
use flexgate_simulator::{AUDIENCE, Config, Simulator, Switches};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

/// Variables that the simulated set-up always sets itself. It ignores the values of these variables in the environment,
/// because they may be for real Twilio.
const OURS: [&str; 5] =
    ["FLEXGATE_TWILIO_URL", "FLEXGATE_PUBLIC_URL", "FLEXGATE_SECRETS", "FLEXGATE_STORE", "FLEXGATE_SSO_PROFILES"];

/// The file with the SCIM token, for trying out SCIM.
pub const SCIM_TOKEN_FILE: &str = "scim-token";

/// The file with the settings as shell variables. With these variables, operator commands use the simulated set-up.
pub const ENVIRONMENT_FILE: &str = "environment";

#[derive(Debug)]
pub struct Simulated<'a> {
    /// The folder for the set-up's data.
    pub data_dir: &'a Path,
    pub gateway: u16,
    pub simulator: SocketAddr,
    pub tls: Option<SocketAddr>,
    /// Whether `FLEXGATE_…` variables in the environment, except those in [`OURS`], override the generated settings.
    pub environment: bool,
    /// The file with the simulator's switches.
    pub switches: Option<&'a Path>,
}

/// A running simulated set-up.
pub struct Started {
    pub simulator: Simulator,
    /// The gateway's settings.
    pub reader: Reader,
    /// The lock on the folder. While this file is open, no other process can use the folder.
    pub lock: File,
}

impl Simulated<'_> {
    /// Starts the simulator. Fails if another process uses the same folder.
    pub async fn start(&self) -> Result<Started, Box<dyn Error>> {
        let switches = self.switches.map(read_switches).transpose()?.unwrap_or_default();
        std::fs::create_dir_all(self.data_dir).map_err(|error| {
            format!("cannot make the folder {} ({error}): choose another with --data-dir", self.data_dir.display())
        })?;
        let lock = lock(self.data_dir)?;
        let public_url = format!("http://localhost:{}", self.gateway);
        let simulator = Simulator::start(Config {
            http: self.simulator,
            tls: self.tls,
            data_dir: Some(self.data_dir.join("simulator")),
            trusted_urls: vec![format!("{public_url}/sso/default/callback")],
            switches,
            ..Config::default()
        })
        .await
        .map_err(|error| self.explained(&error))?;
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
        let chosen = std::env::vars_os().filter(|_| self.environment).filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with("FLEXGATE_"))?;
            Some((name, value.into_string().ok()?)).filter(|(name, _)| !OURS.contains(&name.as_str()))
        });
        Ok(Started { simulator, reader: Reader::empty().with(made_up).with(chosen), lock })
    }

    /// Describes the error, and names the option or the file to change.
    fn explained(&self, error: &flexgate_simulator::StartError) -> String {
        let said = with_causes(error);
        match error {
            flexgate_simulator::StartError::Listen { address, .. } if *address == self.simulator => {
                format!("{said}: choose another port with --simulator-port")
            }
            flexgate_simulator::StartError::Listen { .. } => format!("{said}: choose another port with --tls-port"),
            _ => format!("{said}: make it writable for this user, or choose another folder with --data-dir"),
        }
    }
}

fn read_switches(path: &Path) -> Result<Switches, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_str(&text)
        .map_err(|error| format!("{} does not hold switches ({error}): docs/verify.md lists them", path.display()))
}

fn lock(folder: &Path) -> Result<File, String> {
    let path = folder.join("lock");
    let mut file = private().open(&path).map_err(|error| unwritable(&path, &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let by = std::fs::read_to_string(&path).unwrap_or_default();
            let by = if by.trim().is_empty() { String::new() } else { format!(" (process {})", by.trim()) };
            let folder = folder.display();
            return Err(format!(
                "another Flexgate{by} uses the folder {folder}: stop it, or choose another with --data-dir"
            ));
        }
        Err(TryLockError::Error(error)) => return Err(unwritable(&path, &error)),
    }
    file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(|error| unwritable(&path, &error))?;
    Ok(file)
}

fn unwritable(path: &Path, error: &std::io::Error) -> String {
    format!(
        "cannot write {} ({error}): make it writable for this user, or choose another folder with --data-dir",
        path.display()
    )
}

/// Writes the secrets. At each start, writes the Twilio credential again, because it must be that of the running
/// simulator. Writes the cookie keys and the webhook secret only if they do not exist, so that sessions and webhooks
/// survive a restart.
fn write_secrets(folder: &Path, simulator: &Simulator) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
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

/// Generates a SCIM token. Writes the token to `token_file`, and its hash to the folder `secrets`. Does nothing if both
/// files exist already.
fn write_scim_token(secrets: &Path, token_file: &Path) -> Result<(), Box<dyn Error>> {
    let hashes = secrets.join("scim-tokens.json");
    if !(hashes.exists() && token_file.exists()) {
        let made = NewToken::generate("simulated", &SystemRng);
        write_private_text(token_file, made.token.expose_secret())?;
        write_private(&hashes, &serde_json::to_value(&made.hashes)?)?;
    }
    Ok(())
}

/// Writes the settings as shell commands, to be loaded with `. FILE`. The file contains no secrets, only their names.
fn write_environment(path: &Path, settings: &[(&str, String)]) -> Result<(), String> {
    let line = |(name, value): &(&str, String)| format!("export {name}='{}'\n", value.replace('\'', "'\\''"));
    write_private_text(path, &settings.iter().map(line).collect::<String>())
}

/// Writes a file that only its owner can read.
fn write_private(path: &Path, document: &Value) -> Result<(), String> {
    write_private_text(path, &document.to_string())
}

fn write_private_text(path: &Path, text: &str) -> Result<(), String> {
    let written = private().truncate(true).open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| unwritable(path, &error))
}

fn private() -> std::fs::OpenOptions {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
