//! A set of signals.

use orchestra_model::service::is_message;

/// Signals that runs may be sent, each at most once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals(u32);

impl Signals {
    /// Those whose bits, by their numbers, are set; `None` where one of them may not be sent.
    pub fn from_bits(bits: u32) -> Option<Self> {
        let known = Signals((0..32).map(bit_of).sum());
        Signals(bits).without(known).is_empty().then_some(Signals(bits))
    }

    /// A bit for each, by its number.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Whether there is none.
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

    /// Those that are not among others.
    pub(crate) fn without(self, others: Signals) -> Signals {
        Signals(self.0 & !others.0)
    }
}

/// The bit of a signal; none for a number that no order may ask for.
fn bit_of(signal: i32) -> u32 {
    if is_message(signal) { 1 << signal } else { 0 }
}
