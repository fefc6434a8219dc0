//! When a flow begins: at once, or once something has come that it waits for.

use std::fmt;

use crate::{
    ids::FlowId,
    state::{FlowState, Verdict, kebab_enum},
    time::Timestamp,
};

/// What a flow waits for before its first slot begins. Where both are given, both have to come; the
/// default waits for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// The moment before which it does not begin; at most
    /// [`limits::DURATION_MS`](crate::limits::DURATION_MS) after it is submitted.
    pub at: Option<Timestamp>,
    /// The flow that has to end before it.
    pub after: Option<After>,
}

impl Start {
    /// Whether it begins as soon as it is stored.
    pub fn is_now(&self) -> bool {
        *self == Self::default()
    }
}

/// A flow that has to end before another one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After {
    pub flow: FlowId,
    pub end: NeededEnd,
}

kebab_enum!(
    /// Which end of a flow lets another one begin.
    NeededEnd {
        /// Its verdict is ok. If it is another one, the flow after it never begins.
        Ok = "ok",
        /// Any.
        Ended = "ended",
    }
);

impl NeededEnd {
    /// Whether the end of a flow in this state is such an end.
    pub fn is_met_by(self, end: FlowState) -> bool {
        match self {
            NeededEnd::Ok => end.verdict() == Some(Verdict::Ok),
            NeededEnd::Ended => end.is_final(),
        }
    }
}

/// As it is written on a command line and in a flow file: `42`, `42:ended`.
impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end {
            NeededEnd::Ok => write!(f, "{}", self.flow),
            end => write!(f, "{}:{end}", self.flow),
        }
    }
}

/// What a flow that does not begin at once waits for, or waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartStatus {
    pub start: Start,
    /// How the flow ended that has to end before it; `None` while that one lives, or where there is
    /// none.
    pub ended: Option<FlowState>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_that_is_needed_lets_a_flow_begin() {
        for state in FlowState::ALL {
            assert_eq!(NeededEnd::Ok.is_met_by(*state), *state == FlowState::Ok);
            assert_eq!(NeededEnd::Ended.is_met_by(*state), state.is_final());
        }
    }

    #[test]
    fn what_a_flow_comes_after_reads_as_it_is_written() {
        let after = |end| After { flow: FlowId(42), end }.to_string();
        assert_eq!(
            (after(NeededEnd::Ok), after(NeededEnd::Ended)),
            ("42".into(), "42:ended".into())
        );
    }
}
