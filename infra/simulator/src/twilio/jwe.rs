//! Flex tokens in Twilio's format. Each token is a real JWE that contains all its claims. Only this simulator can
//! decrypt it. The data directory keeps the key, so tokens survive a restart.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::persist::Store;
use crate::simulator::StartError;
use crate::switches::TokensAtDeprovision;
use crate::world::State;
use crate::{clock, random, web};

const KEY_FILE: &str = "token-key";
const HEADER: &str = r#"{"zip":"DEF","kid":"SAS_S3-KMS_v1","cty":"twilio-fpa;v=1","enc":"A256GCM","alg":"dir"}"#;
/// The size of the filler that makes a token about 1.8 KB long, like Twilio's tokens. The filler is random, so that it
/// cannot be compressed.
const FILLER_BYTES: usize = 950;
const TAG_LEN: usize = 16;
const PLAIN_LIMIT: u64 = 64 * 1024;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) jti: String,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    pub(crate) account_sid: String,
    pub(crate) instance_sid: String,
    pub(crate) flex_user_sid: String,
    pub(crate) identity: String,
    pub(crate) username: String,
    pub(crate) roles: Vec<String>,
    pub(crate) permissions: Vec<String>,
    pub(crate) worker_sid: Option<String>,
    generation: u64,
    filler: String,
}

impl Claims {
    pub(crate) fn new(user: &super::directory::FlexUser, now: i64, exp: i64) -> Self {
        Self {
            jti: random::text(16),
            iat: now,
            exp,
            account_sid: crate::ACCOUNT_SID.to_owned(),
            instance_sid: crate::INSTANCE_SID.to_owned(),
            flex_user_sid: user.sid.clone(),
            identity: user.identity(),
            username: user.username.clone(),
            roles: user.roles.clone(),
            permissions: vec!["FPN9999".to_owned()],
            worker_sid: user.worker.as_ref().map(|worker| worker.sid.clone()),
            generation: user.generation,
            filler: random::text(FILLER_BYTES),
        }
    }

    /// The `token_info` in the answers of mint and exchange.
    pub(crate) fn token_info(&self, sparse: bool) -> Value {
        let mut info = json!({
            "account_sid": self.account_sid, "expiration": clock::rfc3339(self.exp),
            "flex_instance_sid": self.instance_sid, "flex_user_sid": self.flex_user_sid, "identity": self.identity,
            "permissions": self.permissions, "roles": self.roles, "username": self.username,
        });
        if sparse && let Some(members) = info.as_object_mut() {
            members.remove("permissions");
            members.remove("identity");
        }
        info
    }
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Invalid,
    Expired,
}

pub(crate) struct TokenKey(LessSafeKey);

impl TokenKey {
    pub(crate) fn load_or_generate(store: &Store) -> Result<Self, StartError> {
        let text = store.read_or_make(KEY_FILE, || Ok(web::b64url(random::bytes::<32>())))?;
        let key = web::unb64url(text.trim()).ok_or_else(|| store.corrupt(KEY_FILE))?;
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| store.corrupt(KEY_FILE))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Encrypts the claims as a compact JWE. Returns an empty string if compression or encryption fails.
    pub(crate) fn seal(&self, claims: &Claims) -> String {
        let plain = serde_json::to_vec(claims).unwrap_or_default();
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        let Ok(mut data) = encoder.write_all(&plain).and_then(|()| encoder.finish()) else { return String::new() };
        let header = web::b64url(HEADER);
        let iv: [u8; NONCE_LEN] = random::bytes();
        let nonce = Nonce::assume_unique_for_key(iv);
        let Ok(tag) = self.0.seal_in_place_separate_tag(nonce, Aad::from(header.as_bytes()), &mut data) else {
            return String::new();
        };
        format!("{header}..{}.{}.{}", web::b64url(iv), web::b64url(data), web::b64url(tag))
    }

    /// Decrypts the claims of a token from this simulator. Does not check whether the token is still valid.
    pub(crate) fn open(&self, token: &str) -> Option<Claims> {
        let parts: Vec<&str> = token.split('.').collect();
        let [header, "", iv, data, tag] = parts.as_slice() else { return None };
        if web::unb64url(header)? != HEADER.as_bytes() {
            return None;
        }
        let tag = web::unb64url(tag)?;
        if tag.len() != TAG_LEN {
            return None;
        }
        let mut data = web::unb64url(data)?;
        data.extend_from_slice(&tag);
        let nonce = Nonce::try_assume_unique_for_key(&web::unb64url(iv)?).ok()?;
        let plain = self.0.open_in_place(nonce, Aad::from(header.as_bytes()), &mut data).ok()?;
        let mut text = Vec::new();
        DeflateDecoder::new(&*plain).take(PLAIN_LIMIT).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Returns the claims of a token. Refuses a token that is not valid now.
    pub(crate) fn verify(&self, state: &State, token: &str) -> Result<Claims, Refused> {
        let claims = self.open(token).ok_or(Refused::Invalid)?;
        if claims.exp <= state.now() {
            return Err(Refused::Expired);
        }
        if state.lasting.revoked.contains(&claims.jti) {
            return Err(Refused::Invalid);
        }
        let user = state.lasting.directory.by_sid(&claims.flex_user_sid).ok_or(Refused::Invalid)?;
        let cut_off = state.switches.tokens_die_at_deprovision == TokensAtDeprovision::Die
            && (user.deactivated || claims.generation != user.generation);
        if cut_off { Err(Refused::Invalid) } else { Ok(claims) }
    }
}
