//! Which chunks there are, as ranges of their numbers.

use std::collections::BTreeMap;

/// A set of chunks. It stays small where chunks come about in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkRanges {
    /// Where each range begins, and the first number after it. No two of them touch.
    ranges: BTreeMap<u32, u32>,
    count: u32,
}

impl ChunkRanges {
    /// All chunks below a number.
    pub fn below(end: u32) -> Self {
        let mut ranges = Self::default();
        ranges.insert(0, end);
        ranges
    }

    /// How many chunks are in it.
    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether a chunk is in it.
    pub fn contains(&self, number: u32) -> bool {
        self.end_of_range_with(number).is_some()
    }

    /// The first chunk from `number` on that is not in it.
    pub fn first_missing(&self, number: u32) -> u32 {
        self.end_of_range_with(number).unwrap_or(number)
    }

    /// Its ranges in order: where each begins, and the first number after it.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.ranges.iter().map(|(first, end)| (*first, *end))
    }

    /// Adds the chunks from `first` on and below `end`.
    pub fn insert(&mut self, first: u32, end: u32) {
        if first >= end {
            return;
        }
        let (mut from, mut to) = (first, end);
        // Those that overlap it or touch it become one with it.
        while let Some((other, other_end)) = self.last_that_begins_by(to) {
            if other_end < from {
                break;
            }
            self.ranges.remove(&other);
            self.count -= other_end - other;
            (from, to) = (from.min(other), to.max(other_end));
        }
        self.ranges.insert(from, to);
        self.count += to - from;
    }

    /// Adds all chunks of another set.
    pub fn extend(&mut self, other: &Self) {
        other.iter().for_each(|(first, end)| self.insert(first, end));
    }

    fn end_of_range_with(&self, number: u32) -> Option<u32> {
        self.last_that_begins_by(number).map(|(_, end)| end).filter(|end| number < *end)
    }

    fn last_that_begins_by(&self, number: u32) -> Option<(u32, u32)> {
        self.ranges.range(..=number).next_back().map(|(first, end)| (*first, *end))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_the_set_of_what_was_added(added in prop::collection::vec((0_u32..60, 0_u32..9), 0..20)) {
            let mut ranges = ChunkRanges::default();
            let mut set = BTreeSet::new();
            for (first, len) in added {
                ranges.insert(first, first + len);
                set.extend(first..first + len);
                prop_assert_eq!(ranges.count() as usize, set.len());
                let told: Vec<u32> = ranges.iter().flat_map(|(first, end)| first..end).collect();
                prop_assert_eq!(&told, &set.iter().copied().collect::<Vec<_>>());
                let pairs: Vec<_> = ranges.iter().collect();
                prop_assert!(pairs.windows(2).all(|pair| pair[0].1 < pair[1].0), "two touch");
            }
            for number in 0..70 {
                prop_assert_eq!(ranges.contains(number), set.contains(&number));
                let missing = (number..).find(|it| !set.contains(it)).unwrap();
                prop_assert_eq!(ranges.first_missing(number), missing);
            }
        }
    }
}
