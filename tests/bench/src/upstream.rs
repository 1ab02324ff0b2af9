//! The upstream services, in a separate process and with TLS. The simulator replaces Twilio and the identity provider.
//! A stub replaces AWS.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flexgate::base::outbound::{Deadline, HttpClient, http_client, send};
use flexgate_simulator::{ACCOUNT_SID, AUDIENCE, AUTH_TOKEN, Config, INSTANCE_SID, SSO_PROFILE_SID, Simulator};
use http::{HeaderValue, Method};
use ring::digest;
use serde_json::{Value, json};

use crate::aws;

/// The number of people for whom the bench mints. One person is not enough, because Flexgate limits each person's
/// mints.
pub const PEOPLE: usize = 40;

/// The key for webhook signatures. The bench also uses it for cookies.
pub const WEBHOOK_KEY: &[u8] = b"3f1c8a7d5e2b90461d7a8c3e5f902b64";

pub const SCIM_TOKEN: &str = "fgscim_bench-bench-bench-bench-bench-bench-bench";

/// The upstream process and its addresses. Dropping the value ends the process.
pub struct Upstream {
    process: Child,
    /// The simulator's plain HTTP URL, used for preparations.
    pub http: String,
    pub tls: String,
    /// The port of the AWS stub, which uses TLS.
    pub aws_port: u64,
    /// A PEM file with both CA certificates.
    pub ca: PathBuf,
    pub issuer: String,
    client: HttpClient,
}

/// Runs the upstream services until standard input ends.
pub async fn serve(folder: &Path) {
    let config = Config {
        tls: Some(([127, 0, 0, 1], 0).into()),
        trusted_urls: vec!["https://gate.example.com/sso/default/callback".to_owned()],
        ..Config::default()
    };
    let simulator = Simulator::start(config).await.unwrap();
    let secrets = [
        ("twilio", json!({ "accountSid": ACCOUNT_SID, "authToken": AUTH_TOKEN })),
        ("cookie-keys", json!({ "current": "1", "keys": { "1": STANDARD.encode(WEBHOOK_KEY) } })),
        (
            "scim-tokens",
            json!({ "tokens": [{ "id": "bench", "sha256": URL_SAFE_NO_PAD.encode(digest::digest(
            &digest::SHA256, SCIM_TOKEN.as_bytes())) }] }),
        ),
        ("webhook-secrets", json!({ "standard": format!("whsec_{}", STANDARD.encode(WEBHOOK_KEY)) })),
    ];
    let (ca, aws_port) = aws::serve(secrets.map(|(name, value)| (name.to_owned(), value)).into()).await;
    let bundle = folder.join("ca.pem");
    std::fs::write(&bundle, format!("{}{ca}", simulator.ca_pem())).unwrap();
    let tls = format!("https://127.0.0.1:{}", simulator.tls_addr().unwrap().port());
    let places = json!({ "http": simulator.url(), "tls": tls, "aws_port": aws_port, "issuer": simulator.issuer() });
    println!("{places}");
    std::io::stdout().flush().unwrap();
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await;
    ended.unwrap().unwrap();
}

impl Upstream {
    /// Starts the upstream process. The process keeps its files in `folder`.
    pub fn start(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg("upstream")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let places: Value = serde_json::from_str(&said).unwrap();
        let text = |name: &str| places[name].as_str().unwrap().to_owned();
        Self {
            process,
            http: text("http"),
            tls: text("tls"),
            aws_port: places["aws_port"].as_u64().unwrap(),
            ca: folder.join("ca.pem"),
            issuer: text("issuer"),
            client: http_client(&[]).unwrap(),
        }
    }

    /// The environment variables of every function, except the address of the store.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let issuers = json!([{ "issuer": self.issuer, "audiences": [AUDIENCE], "roles_claim": "roles",
                               "jwks_uri": self.jwks() }]);
        let variables = [
            ("TWILIO_ACCOUNT_SID", ACCOUNT_SID.to_owned()),
            ("TWILIO_INSTANCE_SID", INSTANCE_SID.to_owned()),
            ("TWILIO_SECRET_ID", "twilio".to_owned()),
            ("COOKIE_KEYS_SECRET_ID", "cookie-keys".to_owned()),
            ("SCIM_TOKENS_SECRET_ID", "scim-tokens".to_owned()),
            ("WEBHOOK_SECRETS_SECRET_ID", "webhook-secrets".to_owned()),
            ("FLEXGATE_WEBHOOKS", json!({ "standard": {} }).to_string()),
            ("FLEXGATE_SSO_PROFILES", format!("default={SSO_PROFILE_SID}")),
            ("FLEXGATE_PUBLIC_URL", "https://gate.example.com".to_owned()),
            ("FLEXGATE_TWILIO_URL", self.tls.clone()),
            ("FLEXGATE_CA_FILE", self.ca.display().to_string()),
            ("FLEXGATE_ISSUERS", issuers.to_string()),
            ("FLEXGATE_MINTS_PER_MINUTE", "60000".to_owned()),
        ];
        variables.into_iter().chain(self.aws()).collect()
    }

    pub fn jwks(&self) -> String {
        format!("{}/idp/jwks", self.tls)
    }

    /// The variables that make the AWS SDKs call the stub. Secrets Manager and DynamoDB have different host names, so
    /// that they use separate connections, as on AWS.
    pub fn aws(&self) -> [(&'static str, String); 8] {
        let (here, local) =
            (format!("https://127.0.0.1:{}", self.aws_port), format!("https://localhost:{}", self.aws_port));
        [
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", here.clone()),
            ("AWS_ENDPOINT_URL_DYNAMODB", local),
            ("AWS_ENDPOINT_URL_SQS", here.clone()),
            ("FLEXGATE_QUEUE", format!("sqs:{here}/000000000000/events.fifo")),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
        ]
    }

    /// Creates the people for whom the bench mints. Returns a token of the identity provider for each person.
    pub async fn people(&self) -> Vec<String> {
        let mut tokens = Vec::new();
        for number in 0..PEOPLE {
            let name = format!("bench{number:03}");
            self.provision(&name).await;
            let claims = json!({
                "sub": format!("sub-{name}"), "preferred_username": name, "exp": soon(),
                "scope": "flexgate.token flexgate.users.read", "email": format!("{name}@example.com"),
                "email_verified": true, "name": "Bench Example",
            });
            let made = self.ask(Method::POST, "/idp/__dev/token", &claims).await;
            tokens.push(made["token"].as_str().unwrap().to_owned());
        }
        tokens
    }

    pub async fn provision(&self, name: &str) {
        let user = json!({ "username": name, "email": format!("{name}@example.com"), "full_name": "Bench Example",
                           "roles": ["agent"], "worker": {} });
        self.ask(Method::POST, &format!("/flex-api/v4/Instances/{INSTANCE_SID}/Users/Provision"), &user).await;
    }

    /// Sends a request to the simulator with the account's credential.
    pub async fn ask(&self, method: Method, path: &str, body: &Value) -> Value {
        let mut request = reqwest::Request::new(method, format!("{}{path}", self.http).parse().unwrap());
        let basic = format!("Basic {}", STANDARD.encode(format!("{ACCOUNT_SID}:{AUTH_TOKEN}")));
        request.headers_mut().insert("authorization", HeaderValue::from_str(&basic).unwrap());
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(body.to_string().into());
        let deadline = Deadline::after(std::time::Duration::from_mins(1));
        let answer = send(&self.client, request, deadline, 1 << 24).await.unwrap();
        assert!(answer.status.is_success(), "{path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// Returns a time six hours from now, in Unix seconds.
fn soon() -> i64 {
    crate::lambda::now().as_secs().try_into().map(|now: i64| now + 6 * 3600).unwrap()
}
