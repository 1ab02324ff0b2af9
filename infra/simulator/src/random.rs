//! Draws random numbers: SIDs, codes and secrets. No other code of the simulator draws any.

use std::cell::Cell;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};

thread_local! {
    /// The state of this thread's generator. `None` means the operating system's generator.
    static SEEDED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From now on, this thread draws numbers from a generator with this seed, so that an in-process simulator can repeat a
/// run.
pub(crate) fn seed(seed: u64) {
    SEEDED.set(Some(seed));
}

/// The next number of this thread's generator (`SplitMix64`), or `None` without a seed.
fn next() -> Option<u64> {
    let state = SEEDED.get()?.wrapping_add(0x9e37_79b9_7f4a_7c15);
    SEEDED.set(Some(state));
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Some(mixed ^ (mixed >> 31))
}

#[expect(clippy::disallowed_methods, reason = "the simulator's only source of randomness")]
pub(crate) fn fill(buffer: &mut [u8]) {
    if SEEDED.get().is_some() {
        for chunk in buffer.chunks_mut(8) {
            let number = next().unwrap_or_default().to_be_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
        return;
    }
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
