//! Signing keys: one RSA, one EC and one Ed25519 key are published; rotation replaces the
//! RSA key and keeps publishing the one before.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::persist::Store;
use crate::simulator::StartError;
use crate::{random, web};

const FILE: &str = "idp-keys.json";

#[derive(Clone)]
pub(crate) struct KeyRing {
    pub(super) current: Arc<SigningKey>,
    pub(super) previous: Option<Arc<SigningKey>>,
    /// False when a rotation withdrew the previous key at once.
    pub(super) previous_published: bool,
    pub(super) ec: Arc<SigningKey>,
    pub(super) ed25519: Arc<SigningKey>,
    /// Never published.
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
            unknown: Arc::default(),
        };
        ring.save(store)?;
        Ok(ring)
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

    /// A new RSA key signs from now on.
    pub(super) fn rotate(&mut self, publish_previous: bool) -> Result<(), StartError> {
        let fresh = Arc::new(SigningKey::rsa()?);
        self.previous = Some(std::mem::replace(&mut self.current, fresh));
        self.previous_published = publish_previous;
        Ok(())
    }

    pub(super) fn unknown(&self) -> Option<Arc<SigningKey>> {
        self.unknown.get_or_init(|| SigningKey::rsa().ok().map(Arc::new)).clone()
    }

    /// The claims of a token that the current or the previous RSA key signed.
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
        let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
        let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair)?.as_ref().to_vec();
        Ok(Self { kid: new_kid("rsa"), pair: Pair::Rsa(pair), pkcs8 })
    }

    fn ec() -> Result<Self, StartError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let pkcs8 = pair.to_pkcs8v1()?.as_ref().to_vec();
        Ok(Self { kid: new_kid("ec"), pair: Pair::Ec(pair), pkcs8 })
    }

    fn ed25519() -> Result<Self, StartError> {
        let pair = Ed25519KeyPair::generate()?;
        let pkcs8 = pair.to_pkcs8v1()?.as_ref().to_vec();
        Ok(Self { kid: new_kid("ed"), pair: Pair::Ed25519(pair), pkcs8 })
    }

    fn restore(kept: &KeptKey, kind: Kind) -> Option<Self> {
        let pkcs8 = web::unb64(&kept.pkcs8)?;
        let pair = match kind {
            Kind::Rsa => Pair::Rsa(RsaKeyPair::from_pkcs8(&pkcs8).ok()?),
            Kind::Ec => Pair::Ec(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).ok()?),
            Kind::Ed25519 => Pair::Ed25519(Ed25519KeyPair::from_pkcs8(&pkcs8).ok()?),
        };
        Some(Self { kid: kept.kid.clone(), pair, pkcs8 })
    }

    /// The algorithm this key signs with by default.
    pub(super) fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// Signs; an RSA key follows the algorithm where it can, the others have only one.
    pub(super) fn sign(&self, algorithm: &str, message: &[u8]) -> Option<Vec<u8>> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let encoding: &'static dyn aws_lc_rs::signature::RsaEncoding = match algorithm {
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
                let public = pair.public_key();
                json!({
                    "kty": "RSA", "n": web::b64url(public.modulus().big_endian_without_leading_zero()),
                    "e": web::b64url(public.exponent().big_endian_without_leading_zero()),
                })
            }
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                // Uncompressed: 0x04, x, y.
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

    /// The public key as an attacker would find it: SPKI in PEM.
    pub(super) fn public_pem(&self) -> Option<String> {
        let Pair::Rsa(pair) = &self.pair else { return None };
        let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).ok()?;
        let encoded = web::b64(der.as_ref());
        let lines: Vec<&str> =
            encoded.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        Some(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n")))
    }
}

fn new_kid(kind: &str) -> String {
    format!("{kind}-{}", random::hex(4))
}
