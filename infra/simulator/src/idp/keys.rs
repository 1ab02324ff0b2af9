//! The identity provider's signing keys: RSA, EC and Ed25519. A rotation replaces the RSA key, and may withdraw the
//! previous one.

use std::sync::{Arc, OnceLock};

use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use rsa::Generate as _;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::persist::Store;
use crate::simulator::StartError;
use crate::{random, web};

const FILE: &str = "idp-keys.json";
/// The number of keys that in-process simulators keep in reserve, so that a rotation need not generate a key.
const SPARE: usize = 2;

#[derive(Clone)]
pub(crate) struct KeyRing {
    pub(super) current: Arc<SigningKey>,
    pub(super) previous: Option<Arc<SigningKey>>,
    /// Whether the previous RSA key is still published.
    pub(super) previous_published: bool,
    pub(super) ec: Arc<SigningKey>,
    pub(super) ed25519: Arc<SigningKey>,
    /// Keys for the next rotations. A rotation generates a key only if none is left.
    spare: Vec<Arc<SigningKey>>,
    /// A key that the provider never publishes.
    unknown: Arc<OnceLock<Option<Arc<SigningKey>>>>,
}

pub(super) struct SigningKey {
    pub(super) kid: String,
    pair: Pair,
    pkcs8: Vec<u8>,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

#[derive(Serialize, Deserialize)]
struct Kept {
    current: KeptKey,
    previous: Option<KeptKey>,
    #[serde(default)]
    previous_published: bool,
    ec: KeptKey,
    ed25519: KeptKey,
}

#[derive(Serialize, Deserialize)]
struct KeptKey {
    kid: String,
    pkcs8: String,
}

impl KeyRing {
    pub(crate) fn load_or_generate(store: &Store) -> Result<Self, StartError> {
        if let Some(text) = store.read(FILE)? {
            return Self::restore(&text).ok_or_else(|| store.corrupt(FILE));
        }
        let ring = Self {
            current: Arc::new(SigningKey::rsa()?),
            previous: None,
            previous_published: true,
            ec: Arc::new(SigningKey::ec()?),
            ed25519: Arc::new(SigningKey::ed25519()?),
            spare: Vec::new(),
            unknown: Arc::default(),
        };
        ring.save(store)?;
        Ok(ring)
    }

    /// Returns the keys that all in-process simulators of this process share, because generating RSA keys is slow.
    pub(crate) fn shared() -> Result<Self, StartError> {
        static SHARED: OnceLock<Option<KeyRing>> = OnceLock::new();
        let made = || {
            let mut ring = Self::load_or_generate(&Store::default()).ok()?;
            for _ in 0..SPARE {
                ring.spare.push(Arc::new(SigningKey::rsa().ok()?));
            }
            Some(ring)
        };
        SHARED.get_or_init(made).clone().ok_or(StartError::Keys)
    }

    fn restore(text: &str) -> Option<Self> {
        let kept: Kept = serde_json::from_str(text).ok()?;
        Some(Self {
            current: Arc::new(SigningKey::restore(&kept.current, Kind::Rsa)?),
            previous: match kept.previous {
                Some(key) => Some(Arc::new(SigningKey::restore(&key, Kind::Rsa)?)),
                None => None,
            },
            previous_published: kept.previous_published,
            ec: Arc::new(SigningKey::restore(&kept.ec, Kind::Ec)?),
            ed25519: Arc::new(SigningKey::restore(&kept.ed25519, Kind::Ed25519)?),
            spare: Vec::new(),
            unknown: Arc::default(),
        })
    }

    pub(crate) fn save(&self, store: &Store) -> Result<(), StartError> {
        let keep = |key: &SigningKey| KeptKey { kid: key.kid.clone(), pkcs8: web::b64(&key.pkcs8) };
        let kept = Kept {
            current: keep(&self.current),
            previous: self.previous.as_deref().map(keep),
            previous_published: self.previous_published,
            ec: keep(&self.ec),
            ed25519: keep(&self.ed25519),
        };
        let text = serde_json::to_string(&kept).map_err(|_| store.corrupt(FILE))?;
        store.write(FILE, &text)
    }

    /// Makes the provider sign with another RSA key from now on. Uses a spare key, or generates one if none is left.
    pub(super) fn rotate(&mut self, publish_previous: bool) -> Result<(), StartError> {
        let fresh = self.spare.pop().map_or_else(|| SigningKey::rsa().map(Arc::new), Ok)?;
        self.previous = Some(std::mem::replace(&mut self.current, fresh));
        self.previous_published = publish_previous;
        Ok(())
    }

    pub(super) fn unknown(&self) -> Option<Arc<SigningKey>> {
        self.unknown.get_or_init(|| SigningKey::rsa().ok().map(Arc::new)).clone()
    }

    /// Returns the claims of a token with a valid RSA signature. The previous key is valid while it is published.
    pub(super) fn verified_claims(&self, token: &str) -> Option<Map<String, Value>> {
        let (input, signature) = token.rsplit_once('.')?;
        let (_, claims) = input.split_once('.')?;
        let signature = web::unb64url(signature)?;
        let previous = self.previous.iter().filter(|_| self.previous_published);
        let genuine =
            std::iter::once(&self.current).chain(previous).any(|key| key.verifies(input.as_bytes(), &signature));
        genuine.then(|| web::unb64url(claims)).flatten().and_then(|json| serde_json::from_slice(&json).ok())
    }

    pub(super) fn jwks(&self) -> Value {
        let previous = self.previous.iter().filter(|_| self.previous_published);
        let keys: Vec<Value> = std::iter::once(&self.current)
            .chain(previous)
            .chain([&self.ec, &self.ed25519])
            .map(|key| key.jwk())
            .collect();
        json!({ "keys": keys })
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Rsa,
    Ec,
    Ed25519,
}

impl SigningKey {
    fn rsa() -> Result<Self, StartError> {
        let pkcs8 = rsa_pkcs8().ok_or(StartError::Keys)?;
        Self::of(new_kid("rsa"), pkcs8, Kind::Rsa).ok_or(StartError::Keys)
    }

    fn ec() -> Result<Self, StartError> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let pkcs8 = pkcs8.map_err(|_| StartError::Keys)?.as_ref().to_vec();
        Self::of(new_kid("ec"), pkcs8, Kind::Ec).ok_or(StartError::Keys)
    }

    fn ed25519() -> Result<Self, StartError> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| StartError::Keys)?;
        Self::of(new_kid("ed"), pkcs8.as_ref().to_vec(), Kind::Ed25519).ok_or(StartError::Keys)
    }

    fn restore(kept: &KeptKey, kind: Kind) -> Option<Self> {
        Self::of(kept.kid.clone(), web::unb64(&kept.pkcs8)?, kind)
    }

    fn of(kid: String, pkcs8: Vec<u8>, of: Kind) -> Option<Self> {
        let pair = match of {
            Kind::Rsa => Pair::Rsa(RsaKeyPair::from_pkcs8(&pkcs8).ok()?),
            Kind::Ec => {
                let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
                Pair::Ec(EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &random).ok()?)
            }
            // Older data directories contain Ed25519 keys without the public half.
            Kind::Ed25519 => Pair::Ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8).ok()?),
        };
        Some(Self { kid, pair, pkcs8 })
    }

    /// The key's default signing algorithm.
    pub(super) fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// Signs the message. An RSA key uses `algorithm`, or RS256 if the simulator does not support that algorithm for
    /// RSA. Other keys ignore `algorithm`.
    pub(super) fn sign(&self, algorithm: &str, message: &[u8]) -> Option<Vec<u8>> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let encoding: &'static dyn ring::signature::RsaEncoding = match algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    _ => &RSA_PKCS1_SHA256,
                };
                pair.sign(encoding, &SystemRandom::new(), message, &mut signature).ok()?;
                Some(signature)
            }
            Pair::Ec(pair) => {
                pair.sign(&SystemRandom::new(), message).ok().map(|signature| signature.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
        }
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Pair::Rsa(pair) = &self.pair else { return false };
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref());
        public.verify(message, signature).is_ok()
    }

    pub(super) fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let PublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
                json!({ "kty": "RSA", "n": web::b64url(n), "e": web::b64url(e) })
            }
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                // An uncompressed point consists of 0x04, x and y.
                let (x, y) = point.get(1..).unwrap_or_default().split_at(32.min(point.len().saturating_sub(1)));
                json!({ "kty": "EC", "crv": "P-256", "x": web::b64url(x), "y": web::b64url(y) })
            }
            Pair::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": web::b64url(pair.public_key().as_ref()) })
            }
        };
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".to_owned(), self.kid.as_str().into());
            members.insert("use".to_owned(), "sig".into());
            members.insert("alg".to_owned(), self.algorithm().into());
        }
        jwk
    }

    /// The public key as PEM text (SPKI). Tests sign tokens with this text as an HMAC secret, as an attacker could,
    /// because anybody can compute it from the JWKS.
    pub(super) fn public_pem(&self) -> Option<String> {
        rsa::PrivateKey::from_pkcs8_der(&self.pkcs8).ok()?.to_public_key().to_public_key_pem(LineEnding::LF).ok()
    }
}

/// Generates a 2048-bit RSA key as PKCS#8. *ring* cannot generate RSA keys.
#[must_use]
pub fn rsa_pkcs8() -> Option<Vec<u8>> {
    Some(rsa::PrivateKey::generate().to_pkcs8_der().ok()?.as_bytes().to_vec())
}

fn new_kid(kind: &str) -> String {
    format!("{kind}-{}", random::hex(4))
}
