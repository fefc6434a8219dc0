//! When a flow begins, as the audience asks for it: the flags `--at` and `--after` of `submitjob`, and
//! the same fields of a flow file.

use std::str::FromStr;

use orchestra_document::{Fields, Problems};
use orchestra_model::{
    ids::{FlowId, FlowPart, Reference},
    start::{After, NeededEnd, Start},
    time::{Millis, Timestamp},
};

use crate::{
    error::Failure,
    program::{self, Program},
    view,
};

/// What was asked for; what was not is no wait.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct StartFlags {
    /// Begin then: at 22:00, 2026-12-01T22:00, or in 2h
    #[arg(long, value_name = "TIME")]
    at: Option<Moment>,
    /// Begin once this flow is ok; 42:ended begins whatever its end
    #[arg(long, value_name = "FLOW")]
    after: Option<Other>,
}

impl StartFlags {
    /// From the fields of a flow file.
    pub(super) fn read(fields: &mut Fields<'_>, problems: &mut Problems) -> Self {
        let after: Option<Other> = fields.parsed("after", problems);
        if after.is_some_and(|other| other.flow.is_none()) {
            fields.note("after", "a file names a flow by its number", problems);
        }
        Self { at: fields.parsed("at", problems), after }
    }

    /// These, and others where nothing was asked for.
    pub(super) fn over(self, others: Start) -> Start {
        let after = |other: Other| Some(After { flow: other.flow?, end: other.end });
        Start {
            at: self.at.map(|moment| moment.0).or(others.at),
            after: self.after.and_then(after).or(others.after),
        }
    }

    /// Asks which flow `last` is, if that is named. From then on these name its number.
    pub(super) fn find_last(&mut self, program: &mut Program) -> Result<(), Failure> {
        let Some(other) = self.after.as_mut().filter(|other| other.flow.is_none()) else {
            return Ok(());
        };
        let last = program.ask(async |client, _| Ok(client.flow(None).await?.summary.id))?;
        other.flow = Some(last);
        Ok(())
    }
}

/// A moment to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment(Timestamp);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let now = program::now();
        match text.parse::<Millis>() {
            Ok(length) => Ok(Self(now.after(length))),
            Err(_) => view::read_coming_moment(now, text).map(Self),
        }
    }
}

/// The flow that has to end before ours begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Other {
    /// `None` is `last`.
    flow: Option<FlowId>,
    end: NeededEnd,
}

impl FromStr for Other {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str =
            "expected a flow like 42 or last, or 42:ended for whatever its end is";
        let (flow, end) = match text.split_once(':') {
            None => (text, NeededEnd::Ok),
            Some((flow, end)) => (flow, NeededEnd::from_word(end).ok_or(EXPECTED)?),
        };
        match flow.parse() {
            Ok(Reference { flow, part: FlowPart::Flow, host: None }) => Ok(Self { flow, end }),
            _ => Err(EXPECTED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_and_the_end_that_it_needs_are_one_word() {
        let other = |text: &str| text.parse::<Other>();
        let of = |flow, end| Ok(Other { flow, end });
        assert_eq!(other("42"), of(Some(FlowId(42)), NeededEnd::Ok));
        assert_eq!(other("42:ok"), of(Some(FlowId(42)), NeededEnd::Ok));
        assert_eq!(other("last:ended"), of(None, NeededEnd::Ended));
        for bad in ["", "42:", "42:failed", "42/web", "42@fe1", ":ended", "0"] {
            assert!(other(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_flag_says_holds_over_a_file() {
        let file = Start {
            at: Some(Timestamp(7)),
            after: Some(After { flow: FlowId(1), end: NeededEnd::Ok }),
        };
        assert_eq!(StartFlags::default().over(file), file);
        let flags = StartFlags { at: None, after: Some("2:ended".parse().unwrap()) };
        let after = Some(After { flow: FlowId(2), end: NeededEnd::Ended });
        assert_eq!(flags.over(file), Start { after, ..file });
    }
}
