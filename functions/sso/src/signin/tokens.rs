//! A session's tokens, as the store contains them: encrypted.
//!
//! Flexgate compresses the tokens before it encrypts them, because a larger write to DynamoDB costs more. Two thirds of
//! the data are Twilio's tokens in base64url. They can be compressed, because each character carries only 6 bits.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use flexgate::base::clock_rng::Rng;
use flexgate::base::seal::{KeyRing, Purpose};
use flexgate::domain::{ObservedRoles, WorkerSid};
use flexgate::store::{Session, SessionKey};
use flexgate::twilio::{SsoTokens, TokenInfo};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::Fault;

/// If two sets of tokens were obtained less than this time apart, equal expiration times prove nothing, because Twilio
/// gives these times in whole seconds.
const MOVES_WITHIN: Duration = Duration::seconds(2);

/// A session's tokens. The store contains them in encrypted form.
#[derive(Serialize, Deserialize)]
pub(super) struct Tokens {
    pub(super) access_token: String,
    pub(super) refresh_token: String,
    pub(super) expires_at: i64,
    /// When Flexgate obtained the tokens, in Unix seconds.
    pub(super) obtained_at: i64,
    pub(super) identity: Option<String>,
    pub(super) username: Option<String>,
    pub(super) roles: ObservedRoles,
    pub(super) worker_sid: Option<WorkerSid>,
    /// Whether another refresh is useless: Twilio has refused one, or the session has reached Twilio's maximum
    /// lifetime.
    pub(super) last: bool,
    /// The time of the last failed refresh, in Unix seconds. 0 if no refresh of these tokens has failed.
    #[serde(default)]
    pub(super) failed_at: i64,
    /// The number of the login that began this session, and the numbers of the logins that began the sessions before it
    /// in this browser. The newest number is last. At most `MAX_PENDING` numbers are kept.
    #[serde(default)]
    pub(super) logins: Vec<u64>,
}

impl Tokens {
    pub(super) fn of(tokens: &SsoTokens, info: &TokenInfo, logins: Vec<u64>, now: OffsetDateTime) -> Self {
        Self {
            access_token: tokens.access_token.expose_secret().to_owned(),
            refresh_token: tokens.refresh_token.expose_secret().to_owned(),
            expires_at: info.expiration.unix_timestamp(),
            obtained_at: now.unix_timestamp(),
            identity: info.identity.clone(),
            username: info.username.clone(),
            roles: info.roles.clone(),
            worker_sid: info.worker_sid.clone(),
            last: false,
            failed_at: 0,
            logins,
        }
    }

    pub(super) fn seal(&self, key: &SessionKey, keys: &KeyRing, rng: &dyn Rng) -> Result<String, Fault> {
        let json = Zeroizing::new(serde_json::to_vec(self).map_err(|_| Fault::Seal)?);
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&json).map_err(|_| Fault::Seal)?;
        let plain = Zeroizing::new(encoder.finish().map_err(|_| Fault::Seal)?);
        keys.seal(&plain, Purpose(&["session", key.as_str()]), rng).map_err(|_| Fault::Seal)
    }

    /// Decrypts the session's tokens, compressed or not (version 0.2.0 did not compress them). Returns `None` if the
    /// key is no longer in use.
    pub(super) fn open(session: &Session, keys: &KeyRing) -> Option<Self> {
        let plain = keys.open(&session.sealed, Purpose(&["session", session.key.as_str()])).ok()?;
        if plain.starts_with(b"{") {
            return serde_json::from_slice(&plain).ok();
        }
        let mut json = Zeroizing::new(Vec::new());
        ZlibDecoder::new(&plain[..]).read_to_end(&mut json).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// Whether these tokens expire no later than `before`, although Flexgate got them by refreshing `before`. If so,
    /// the session has reached Twilio's maximum lifetime.
    ///
    /// Returns false if Flexgate obtained the two sets of tokens less than `MOVES_WITHIN` apart.
    pub(super) fn brings_no_more_time(&self, before: &Self) -> bool {
        let apart = Duration::seconds(self.obtained_at.saturating_sub(before.obtained_at));
        self.expires_at <= before.expires_at && apart >= MOVES_WITHIN
    }

    /// Whether a refresh of these tokens failed less than `time` ago.
    pub(super) fn failed_within(&self, time: Duration, now: OffsetDateTime) -> bool {
        now.unix_timestamp() - self.failed_at < time.whole_seconds()
    }

    pub(super) fn left(&self, now: OffsetDateTime) -> Duration {
        Duration::seconds(self.expires_at - now.unix_timestamp())
    }
}

#[cfg(test)]
mod tests {
    use flexgate::base::clock_rng::SystemRng;
    use flexgate::store::SessionOrigin;

    use super::*;

    const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

    fn session() -> Session {
        Session {
            key: SessionKey::of("ada"),
            profile: "default".parse().unwrap(),
            flex_user_sid: "FU00000000000000000000000000000001".parse().unwrap(),
            sealed: String::new(),
            version: 0,
            created_at: OffsetDateTime::UNIX_EPOCH,
            used_at: OffsetDateTime::UNIX_EPOCH,
            ends_at: OffsetDateTime::UNIX_EPOCH,
            seat: None,
            origin: SessionOrigin::default(),
        }
    }

    fn tokens(obtained_at: i64, expires_at: i64) -> Tokens {
        Tokens {
            access_token: String::new(),
            refresh_token: String::new(),
            expires_at,
            obtained_at,
            identity: None,
            username: None,
            roles: ObservedRoles::default(),
            worker_sid: None,
            last: false,
            failed_at: 0,
            logins: Vec::new(),
        }
    }

    #[test]
    fn tokens_are_sealed_compressed_and_open_again_also_those_that_version_0_2_0_sealed() {
        let keys: KeyRing =
            serde_json::from_value(serde_json::json!({ "current": "1", "keys": { "1": KEY } })).unwrap();
        let session = session();
        let rng = SystemRng;
        let purpose = Purpose(&["session", session.key.as_str()]);
        let tokens = Tokens { access_token: "a".repeat(2_000), logins: vec![1, 2], ..tokens(1_000, 1_240) };
        let json = serde_json::to_vec(&tokens).unwrap();
        let old = keys.seal(&json, purpose, &rng).unwrap();
        let new = tokens.seal(&session.key, &keys, &rng).unwrap();
        assert!(new.len() < 500 && old.len() > 2_000, "{} {}", new.len(), old.len());
        for sealed in [old, new] {
            let opened = Tokens::open(&Session { sealed, ..session.clone() }, &keys).unwrap();
            assert_eq!(serde_json::to_vec(&opened).unwrap(), json);
        }
        let cut = keys.seal(&[0x78, 0xda, 1, 2, 3], purpose, &rng).unwrap();
        assert!(Tokens::open(&Session { sealed: cut, ..session }, &keys).is_none());
    }

    #[test]
    fn a_refresh_right_after_the_sign_in_is_not_taken_for_the_sessions_end() {
        assert!(!tokens(1_000, 1_240).brings_no_more_time(&tokens(1_000, 1_240)));
        assert!(!tokens(1_001, 1_240).brings_no_more_time(&tokens(1_000, 1_240)));
    }

    #[test]
    fn an_expiration_that_no_longer_moves_is_the_sessions_end() {
        assert!(tokens(1_200, 1_240).brings_no_more_time(&tokens(1_000, 1_240)));
        assert!(!tokens(1_200, 1_440).brings_no_more_time(&tokens(1_000, 1_240)));
    }

    #[test]
    fn equal_expirations_prove_something_from_two_seconds_on() {
        assert!(tokens(1_002, 1_240).brings_no_more_time(&tokens(1_000, 1_240)));
        assert!(tokens(1_002, 1_239).brings_no_more_time(&tokens(1_000, 1_240)));
        assert!(!tokens(1_002, 1_241).brings_no_more_time(&tokens(1_000, 1_240)));
    }

    #[test]
    fn tokens_know_how_long_they_last_and_when_their_refresh_failed() {
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        let mut tokens = tokens(1_000, 1_240);
        assert_eq!(tokens.left(at(1_000)), Duration::seconds(240));
        assert_eq!(tokens.left(at(1_250)), Duration::seconds(-10));
        assert!(!tokens.failed_within(Duration::seconds(10), at(1_000)), "no refresh has failed");
        tokens.failed_at = 1_000;
        assert!(tokens.failed_within(Duration::seconds(10), at(1_009)));
        assert!(!tokens.failed_within(Duration::seconds(10), at(1_010)));
        assert!(!tokens.failed_within(Duration::seconds(10), at(1_011)));
    }
}
