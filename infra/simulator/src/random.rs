//! The only code that draws random numbers: SIDs, codes and secrets.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};

#[expect(clippy::disallowed_methods, reason = "the simulator's only source of randomness")]
pub(crate) fn fill(buffer: &mut [u8]) {
    if SystemRandom::new().fill(buffer).is_err() {
        // Without randomness, every token and secret of this process could be guessed. So end the process.
        std::process::abort();
    }
}

pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut buffer = [0; N];
    fill(&mut buffer);
    buffer
}

/// Returns `count` random bytes as base64url.
pub(crate) fn text(count: usize) -> String {
    let mut buffer = vec![0; count];
    fill(&mut buffer);
    URL_SAFE_NO_PAD.encode(buffer)
}

/// Returns `count` random bytes in lower-case hex.
pub(crate) fn hex(count: usize) -> String {
    let mut buffer = vec![0; count];
    fill(&mut buffer);
    buffer.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Returns a SID: two letters and 32 hex digits.
pub(crate) fn sid(prefix: &str) -> String {
    format!("{prefix}{}", hex(16))
}

/// Returns true with the given probability.
pub(crate) fn chance(probability: f64) -> bool {
    f64::from(u32::from_be_bytes(bytes())) / f64::from(u32::MAX) < probability
}
