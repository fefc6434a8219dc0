//! Moments drawn from a seed, so that a failure can be had again.

use std::{env, time::Duration};

/// Numbers that look random and follow from a seed (SplitMix64).
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// From `ORCHESTRA_SEED`, else from the seed given; printed either way.
    pub(crate) fn new(seed: u64) -> Self {
        let given = env::var("ORCHESTRA_SEED").ok();
        let seed = given.map_or(seed, |text| text.parse().expect("ORCHESTRA_SEED is a number"));
        println!("ORCHESTRA_SEED={seed}");
        Self(seed)
    }

    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// Lets a drawn time below `most` pass: the moment of a fault, and never a way to wait.
    pub(crate) fn delay(&mut self, most: Duration) {
        let most = u64::try_from(most.as_micros()).expect("a short delay");
        std::thread::sleep(Duration::from_micros(self.below(most)));
    }
}
