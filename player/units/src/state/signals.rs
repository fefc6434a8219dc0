//! A set of signals.

use orchestra_model::service::is_message;

/// Signals that runs may be sent, each at most once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals(u32);

impl Signals {
    /// Returns the signals whose numbers are set as bits; `None` if a run may not be sent one of
    /// them.
    pub fn from_bits(bits: u32) -> Option<Self> {
        let known = Signals((0..32).map(bit_of).sum());
        Signals(bits).without(known).is_empty().then_some(Signals(bits))
    }

    /// Returns a bit for each signal, at its number.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Returns whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The signals, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = i32> {
        (1..32).filter(move |signal| self.0 & bit_of(*signal) != 0)
    }

    pub(crate) fn insert(&mut self, signal: i32) {
        self.0 |= bit_of(signal);
    }

    pub(crate) fn insert_all(&mut self, others: Signals) {
        self.0 |= others.0;
    }

    pub(crate) fn remove(&mut self, signal: i32) {
        self.0 &= !bit_of(signal);
    }

    /// Returns the signals of this set that are not in `others`.
    pub(crate) fn without(self, others: Signals) -> Signals {
        Signals(self.0 & !others.0)
    }
}

/// Returns the bit of a signal; 0 for a number that no order may ask for.
fn bit_of(signal: i32) -> u32 {
    if is_message(signal) { 1 << signal } else { 0 }
}
