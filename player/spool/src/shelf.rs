//! Which outputs of attempts that are over are kept, and which go.
//!
//! The end of an attempt tells the first and the last of each stream. What lies between is kept on the host for
//! a while, for whoever asks for all of it: on a *shelf*, each stream by itself.
//!
//! ```text
//!             taken                     too old, no room, no space on the disk
//!  attempt ─────────→ on the shelf ───────────────────────────────────────────→ gone
//!     └─→ gone at once: nothing is to be kept, or it alone is beyond the budget
//! ```
//!
//! What holds: outputs on the shelf keep to the budget, and those that came first go first. None stays longer
//! than twice the time for which outputs are kept, also if the host's clock was set. The driver removes the
//! files of what goes; the shelf knows no file.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{
    delivery::AttemptKey,
    service::LogStream,
    time::{Millis, Timestamp},
};

/// What an output takes of the budget at least, in bytes: a file costs more than what is in it.
pub const LEAST_BYTES: u64 = 16 << 10;
/// Most outputs on a shelf, whatever the budget is: each costs about 200 bytes of memory.
pub const OUTPUTS: usize = 32_768;

/// One stream of an attempt that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptStream {
    pub attempt: AttemptKey,
    pub stream: LogStream,
}

/// An output on the shelf, or one that goes: with the moment at which it was put there.
pub type Shelved = (Timestamp, KeptStream);

/// What there is of outputs, and what may be.
#[derive(Clone, Debug)]
pub struct Shelf {
    keep: Millis,
    budget: u64,
    /// Since when each is here, and what it takes of the budget.
    outputs: BTreeMap<KeptStream, (Timestamp, u64)>,
    /// All outputs of the shelf, the oldest first.
    by_age: BTreeSet<Shelved>,
    /// What all of them take of the budget.
    bytes: u64,
}

impl Shelf {
    /// Returns an empty shelf that keeps outputs for so long, all of them within so many bytes. With a time or
    /// a budget of 0 nothing is kept.
    pub fn new(keep: Millis, budget: u64) -> Self {
        Self { keep, budget, outputs: BTreeMap::new(), by_age: BTreeSet::new(), bytes: 0 }
    }

    /// Puts an output there that was, or is now, put there at `at`. Returns what goes for it, which is the
    /// output itself if it is not kept.
    pub fn put(&mut self, output: KeptStream, at: Timestamp, bytes: u64) -> Vec<Shelved> {
        // Another file of this output may lie there.
        let mut gone: Vec<Shelved> = self.remove(output).into_iter().collect();
        let cost = bytes.max(LEAST_BYTES);
        if self.keep == Millis(0) || cost > self.budget {
            gone.push((at, output));
            return gone;
        }
        self.outputs.insert(output, (at, cost));
        self.by_age.insert((at, output));
        self.bytes += cost;
        while self.bytes > self.budget || self.outputs.len() > OUTPUTS {
            gone.extend(self.remove_oldest());
        }
        gone
    }

    /// Returns what is too old by now, which is on the shelf no more.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Shelved> {
        let mut gone = Vec::new();
        while let Some((at, _)) = self.by_age.first()
            && now.since(*at) >= self.keep
        {
            gone.extend(self.remove_oldest());
        }
        // The clock was ahead when these came, so nobody knows how old they are.
        while let Some((at, output)) = self.by_age.last().copied()
            && at.since(now) > self.keep
        {
            gone.extend(self.remove(output));
        }
        gone
    }

    /// Returns what goes because the disk has no space: the older half.
    pub fn make_room(&mut self) -> Vec<Shelved> {
        let most = self.bytes / 2;
        let mut gone = Vec::new();
        while self.bytes > most {
            gone.extend(self.remove_oldest());
        }
        gone
    }

    /// Returns since when an output is on the shelf; `None` if it is not there.
    pub fn find(&self, output: KeptStream) -> Option<Timestamp> {
        self.outputs.get(&output).map(|(at, _)| *at)
    }

    /// Takes an output from the shelf, for example because its file is gone. Returns it, if it was there.
    pub fn remove(&mut self, output: KeptStream) -> Option<Shelved> {
        let (at, cost) = self.outputs.remove(&output)?;
        let was_there = self.by_age.remove(&(at, output));
        debug_assert!(was_there, "an output is on both lists, or on none");
        self.bytes -= cost;
        Some((at, output))
    }

    /// Returns when something is next too old; `None` if the shelf is empty.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.by_age.first().map(|(at, _)| at.after(self.keep))
    }

    /// Returns how many outputs there are, and what they take of the budget.
    pub fn held(&self) -> (usize, u64) {
        (self.outputs.len(), self.bytes)
    }

    /// Checks what always holds.
    pub fn audit(&self) {
        let by_age = self.outputs.iter().map(|(output, (at, _))| (*at, *output));
        assert_eq!(by_age.collect::<BTreeSet<_>>(), self.by_age, "both lists tell the same");
        let bytes: u64 = self.outputs.values().map(|(_, cost)| cost).sum();
        assert_eq!(bytes, self.bytes, "what is counted is what is there");
        assert!(self.bytes <= self.budget && self.outputs.len() <= OUTPUTS, "within the budget");
    }

    fn remove_oldest(&mut self) -> Option<Shelved> {
        let (_, output) = self.by_age.first().copied()?;
        self.remove(output)
    }
}
