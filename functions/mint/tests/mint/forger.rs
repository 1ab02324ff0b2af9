//! Tokens built byte by byte, and signed with a key that the issuer is made to publish.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flexgate_simulator::AUDIENCE;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::gate::Gate;

pub struct Forger {
    pair: Ed25519KeyPair,
    issuer: String,
    now: i64,
}

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Forger {
    /// Makes the issuer publish only the forger's key, named `forged`, with `copies` of it under further names.
    pub async fn published(gate: &Gate, copies: usize) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let x = b64(pair.public_key());
        let jwk =
            |kid: String| json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x});
        let keys: Vec<_> =
            (0..=copies).map(|n| if n == 0 { "forged".into() } else { format!("copy-{n}") }).map(jwk).collect();
        gate.world
            .fault(&json!({
                "service": "idp", "path_contains": "jwks", "kind": "status", "status": 200, "times": "always",
                "headers": {"content-type": "application/json"}, "body": {"keys": keys},
            }))
            .await;
        let now = flexgate::base::clock_rng::Clock::now(&flexgate::base::clock_rng::SystemClock).unix_timestamp();
        Self { pair, issuer: gate.world.simulator.issuer(), now }
    }

    pub fn header() -> Value {
        json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "forged"})
    }

    pub fn claims(&self) -> Value {
        json!({
            "iss": self.issuer, "aud": AUDIENCE, "sub": "sub-ada", "exp": self.now + 3600, "iat": self.now,
            "scope": "flexgate.token", "preferred_username": "ada",
        })
    }

    pub fn sign(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        let message = format!("{}.{}", b64(header), b64(claims));
        let signature = b64(self.pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}
