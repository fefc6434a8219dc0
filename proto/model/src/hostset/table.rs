//! A hash table for one purpose: giving equal things the index of the first of them.
//!
//! It holds indices only; what they stand for is with its user. It is not a map: after a bounded
//! search it may miss an equal thing, so that names chosen to collide cost nobody time. Its
//! hashes are the same in every run, because what is folded must be too.

/// Slots looked at before a thing is taken for new; at the load that is kept, chance alone does
/// not come near it.
const PROBES: usize = 64;

pub(super) struct Table {
    /// The upper half of a hash, then index and 1; 0 is free.
    slots: Vec<u64>,
    mask: usize,
    /// What was found or put in last: neighbours are often equal.
    latest: u64,
}

impl Table {
    const INDEX: u64 = 0xffff_ffff;

    /// With room for so many things, and as many slots again.
    pub(super) fn new(things: usize) -> Self {
        let size = (things * 2).next_power_of_two();
        Self { slots: vec![0; size], mask: size - 1, latest: 0 }
    }

    /// The index of an equal thing, or `None` after noting `new` as the index of this one.
    pub(super) fn find_or_insert(
        &mut self,
        hash: u64,
        new: usize,
        is_equal: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let index = |slot: u64| (slot & Self::INDEX) as usize - 1;
        let fits = |slot: u64| (slot ^ hash) & !Self::INDEX == 0 && is_equal(index(slot));
        if self.latest != 0 && fits(self.latest) {
            return Some(index(self.latest));
        }
        let mut at = hash as usize & self.mask;
        for _ in 0..PROBES {
            let slot = self.slots[at];
            if slot == 0 {
                self.latest = hash & !Self::INDEX | (new as u64 + 1);
                self.slots[at] = self.latest;
                return None;
            }
            if fits(slot) {
                self.latest = slot;
                return Some(index(slot));
            }
            at = (at + 1) & self.mask;
        }
        None
    }
}

/// Adds bytes, and where they end, to a hash.
pub(super) fn mix_bytes(hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words
        .iter()
        .fold(mix(hash, bytes.len() as u64), |hash, word| mix(hash, u64::from_le_bytes(*word)));
    mix(hash, rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)))
}

/// Adds a word to a hash: both halves of a product, so that every bit goes everywhere.
pub(super) fn mix(hash: u64, word: u64) -> u64 {
    let product =
        u128::from(hash ^ 0x9e37_79b9_7f4a_7c15) * u128::from(word ^ 0xd1b5_4a32_d192_ed03);
    product as u64 ^ (product >> 64) as u64
}
