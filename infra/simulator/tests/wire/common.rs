//! A running simulator, a client that acts like a browser, and common test steps.

use flexgate_simulator::{ACCOUNT_SID, AUTH_TOKEN, CLIENT_ID, Config, INSTANCE_SID, SSO_PROFILE_SID, Simulator};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

pub const CALLBACK: &str = "http://localhost:9000/sso/default/callback";
pub const VERIFIER: &str = "verifier-verifier-verifier-verifier-verifier-verifier-verifier-0";
pub const NONCE: &str = "nonce-nonce-nonce-nonce";

pub struct Sim {
    pub simulator: Simulator,
    pub http: Client,
}

/// A client that does not follow redirects, like the gateway's client.
#[expect(clippy::disallowed_methods, reason = "the simulator shares no code with the gateway")]
pub fn client() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().redirect(reqwest::redirect::Policy::none())
}

#[expect(clippy::disallowed_methods, reason = "the simulator shares no code with the gateway")]
pub async fn send(request: reqwest::RequestBuilder) -> Result<Response, reqwest::Error> {
    request.send().await
}

pub async fn sim() -> Sim {
    sim_with(Config { trusted_urls: vec![CALLBACK.to_owned()], ..Config::default() }).await
}

pub async fn sim_with(config: Config) -> Sim {
    let simulator = Simulator::start(config).await.unwrap();
    Sim { simulator, http: client().build().unwrap() }
}

impl Sim {
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.simulator.url())
    }

    pub fn users(&self, rest: &str) -> String {
        self.at(&format!("/flex-api/v4/Instances/{INSTANCE_SID}/Users{rest}"))
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> (StatusCode, Value) {
        let response = send(request).await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub async fn get(&self, url: &str) -> (StatusCode, Value) {
        self.send(self.http.get(url).basic_auth(ACCOUNT_SID, Some(AUTH_TOKEN))).await
    }

    pub async fn post(&self, url: &str, body: &Value) -> (StatusCode, Value) {
        self.send(self.http.post(url).basic_auth(ACCOUNT_SID, Some(AUTH_TOKEN)).json(body)).await
    }

    pub async fn control(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.send(self.http.post(self.at(&format!("/__sim/{path}"))).json(&body)).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    pub async fn provision(&self, username: &str, roles: &[&str]) -> Value {
        let body = json!({
            "username": username, "email": "user@example.com", "full_name": "Some User", "roles": roles, "worker": {},
        });
        let (status, user) = self.post(&self.users("/Provision"), &body).await;
        assert_eq!(status, 201, "{user}");
        user
    }

    pub async fn mint(&self, flex_user_sid: &str) -> Value {
        let (status, minted) =
            self.post(&self.users(&format!("/{flex_user_sid}/Tokens")), &json!({ "ttl": 3600 })).await;
        assert_eq!(status, 201, "{minted}");
        minted
    }

    pub async fn info(&self, token: &str) -> (StatusCode, Value) {
        let request = self
            .http
            .post(self.at(&format!("/flex-api/v1/Accounts/{ACCOUNT_SID}/Tokens/Info")))
            .basic_auth("token", Some(token))
            .form(&[("Token", token)]);
        self.send(request).await
    }

    /// Returns the URL to which a GET request redirects the browser.
    pub async fn follow(&self, url: &str) -> String {
        let response = send(self.http.get(url)).await.unwrap();
        let status = response.status();
        let location = response.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
        location.unwrap_or_else(|| panic!("{url} answered {status} without a location"))
    }

    /// Signs in like a browser. Returns the last URL.
    pub async fn sign_in(&self, decision: &[(&str, &str)]) -> String {
        let at_idp = self.follow(&self.authorize_url(&plain_state())).await;
        let page = send(self.http.get(&at_idp)).await.unwrap().text().await.unwrap();
        let request = between(&page, "name=\"request\" value=\"", "\"");
        let mut form = vec![("request", request.as_str())];
        form.extend_from_slice(decision);
        let decided = send(self.http.post(self.at("/idp/authorize/decision")).form(&form)).await.unwrap();
        assert_eq!(decided.status(), 303, "{}", decided.text().await.unwrap_or_default());
        let back = decided.headers().get("location").unwrap().to_str().unwrap().to_owned();
        self.follow(&back).await
    }

    pub fn authorize_url(&self, state: &str) -> String {
        let challenge = s256(VERIFIER);
        reqwest::Url::parse_with_params(
            &self.at("/services/v1/Flex/Authorize"),
            [
                ("redirectUrl", CALLBACK),
                ("nonce", NONCE),
                ("codeChallenge", &challenge),
                ("state", state),
                ("ssoProfileSid", SSO_PROFILE_SID),
            ],
        )
        .unwrap()
        .to_string()
    }

    pub async fn exchange(&self, code: &str, verifier: &str, nonce: &str) -> (StatusCode, Value) {
        let body = json!({
            "sso_profile_sid": SSO_PROFILE_SID, "code": code, "code_verifier": verifier, "nonce": nonce,
            "grant_type": "AuthorizationCode",
        });
        self.send(self.http.post(self.at("/services/v1/Flex/OAuth/Tokens")).json(&body)).await
    }

    pub async fn refresh(&self, token: &str) -> (StatusCode, Value) {
        let body = json!({ "refresh_token": token, "sso_profile_sid": SSO_PROFILE_SID, "grant_type": "RefreshToken" });
        self.send(self.http.post(self.at("/services/v1/Flex/OAuth/Tokens")).json(&body)).await
    }

    pub async fn journal(&self, query: &str) -> Vec<Value> {
        let (_, answer) = self.send(self.http.get(self.at(&format!("/__sim/requests{query}")))).await;
        answer["requests"].as_array().unwrap().clone()
    }
}

pub fn plain_state() -> String {
    b64url(json!({ "connection_name": CLIENT_ID, "redirect_url": CALLBACK }).to_string().as_bytes())
}

pub fn b64url(data: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(data)
}

pub fn unb64url(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
}

pub fn s256(text: &str) -> String {
    b64url(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref())
}

pub fn between(text: &str, before: &str, after: &str) -> String {
    let start = text.find(before).unwrap_or_else(|| panic!("no {before} in {text}")) + before.len();
    let length = text[start..].find(after).unwrap();
    text[start..start + length].to_owned()
}

pub fn parameter(url: &str, name: &str) -> Option<String> {
    let url = reqwest::Url::parse(url).unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Parses the JSON in the segment `index` of a compact token.
pub fn part(token: &str, index: usize) -> Value {
    serde_json::from_slice(&unb64url(token.split('.').nth(index).unwrap())).unwrap()
}
