//! The random numbers of a run, which depend only on the seed.

use std::sync::{Arc, Mutex, PoisonError};

use flexgate::base::clock_rng::Rng;

/// A random number generator (`SplitMix64`). Clones draw from the same sequence.
#[derive(Debug, Clone)]
pub struct Chance(Arc<Mutex<u64>>);

impl Chance {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed ^ 0x5851_f42d_4c95_7f2d)))
    }

    pub fn number(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which must be positive.
    pub fn below(&self, limit: usize) -> usize {
        usize::try_from(self.number() % limit as u64).unwrap_or_default()
    }

    /// Returns true with this probability, in thousandths.
    pub fn thousandths(&self, probability: u32) -> bool {
        self.number() % 1_000 < u64::from(probability)
    }

    pub fn half(&self) -> bool {
        self.thousandths(500)
    }

    /// One of `choices`, which must not be empty.
    pub fn one_of<T: Copy>(&self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

impl Rng for Chance {
    fn fill(&self, dest: &mut [u8]) {
        for chunk in dest.chunks_mut(8) {
            let number = self.number().to_be_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
    }
}
