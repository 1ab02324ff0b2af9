//! Measures only the requests that a mint cannot avoid even if every cache is filled, over open connections: two
//! parallel requests to DynamoDB, and then one to Twilio.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flexgate::base::outbound::{Deadline, HttpClient, http_client, send};
use flexgate_simulator::{ACCOUNT_SID, AUTH_TOKEN, INSTANCE_SID};
use http::{HeaderValue, Method};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::report::ms;
use crate::upstream::Upstream;

/// The durations of the requests, in milliseconds.
pub struct Bare {
    /// The request to Twilio alone.
    pub twilio: Vec<f64>,
    /// For each round, the total duration of the two parallel requests to DynamoDB and the following request to Twilio.
    pub all: Vec<f64>,
    /// The durations of requests to Twilio over new connections.
    pub fresh: Vec<f64>,
}

/// In each round, sends two parallel requests to DynamoDB, and then one to Twilio. Runs 50 rounds without measuring
/// them, and then measures `times` rounds. Finally measures 20 requests to Twilio over new connections.
pub async fn measure(upstream: &Upstream, times: usize) -> Bare {
    let roots: Vec<_> =
        CertificateDer::pem_file_iter(&upstream.ca).unwrap().map(|certificate| certificate.unwrap()).collect();
    let client = http_client(&roots).unwrap();
    let path = format!("flex-api/v4/Instances/{INSTANCE_SID}/Users?Username=bench000");
    let found = upstream.ask(Method::GET, &format!("/{path}"), &Value::Null).await;
    let user = found["users"][0]["flex_user_sid"].as_str().unwrap();
    let mint = format!("{}/flex-api/v4/Instances/{INSTANCE_SID}/Users/{user}/Tokens", upstream.tls);
    let basic = format!("Basic {}", STANDARD.encode(format!("{ACCOUNT_SID}:{AUTH_TOKEN}")));
    let twilio = || post(&mint, &[("authorization", &basic)], &json!({ "ttl": 3600 }));
    let dynamodb = format!("https://localhost:{}/", upstream.aws_port);
    let key = json!({ "pk": { "S": "bare" }, "sk": { "S": "bare" } });
    let aws = |operation: &str| {
        let target = format!("DynamoDB_20120810.{operation}");
        let body = json!({ "TableName": "flexgate", "Key": key, "Item": key });
        post(&dynamodb, &[("x-amz-target", &target), ("authorization", "AWS4-HMAC-SHA256 bench")], &body)
    };
    let mut bare = Bare { twilio: Vec::new(), all: Vec::new(), fresh: Vec::new() };
    for number in 0..times + 50 {
        let began = Instant::now();
        tokio::join!(exchange(&client, aws("PutItem")), exchange(&client, aws("GetItem")));
        let stored = began.elapsed();
        let called = exchange(&client, twilio()).await;
        if number >= 50 {
            bare.twilio.push(ms(called));
            bare.all.push(ms(stored + called));
        }
    }
    for _ in 0..20 {
        bare.fresh.push(ms(exchange(&http_client(&roots).unwrap(), twilio()).await));
    }
    bare
}

fn post(url: &str, headers: &[(&'static str, &str)], body: &Value) -> reqwest::Request {
    let mut request = reqwest::Request::new(Method::POST, url.parse().unwrap());
    request.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
    }
    *request.body_mut() = Some(body.to_string().into());
    request
}

async fn exchange(client: &HttpClient, request: reqwest::Request) -> Duration {
    let began = Instant::now();
    let answer = send(client, request, Deadline::after(Duration::from_secs(10)), 1 << 20).await.unwrap();
    assert!(answer.status.is_success(), "{}", answer.status);
    began.elapsed()
}
