//! Colour, times, and text that comes from elsewhere.

use std::{fmt, io};

use orchestra_client::ServiceState;
use orchestra_model::{
    foreign,
    state::{FlowState, JobState, TaskState},
    time::{Millis, Timestamp},
};

/// How an output looks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Style {
    /// Whether states are coloured.
    pub colour: bool,
    /// Whether it is a terminal.
    pub terminal: bool,
}

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const DIM: &str = "2";

/// How text looks that means something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    /// It went as it should.
    Good,
    /// It went wrong.
    Bad,
    /// Somebody may have to do something.
    Care,
    /// It matters less now.
    Dim,
}

impl Tone {
    fn colour(self) -> &'static str {
        match self {
            Tone::Plain => "",
            Tone::Good => GREEN,
            Tone::Bad => RED,
            Tone::Care => YELLOW,
            Tone::Dim => DIM,
        }
    }
}

impl From<FlowState> for Tone {
    fn from(state: FlowState) -> Self {
        match state {
            FlowState::Ok => Tone::Good,
            FlowState::Failed | FlowState::Doomed | FlowState::Stalled => Tone::Bad,
            FlowState::Cancelled | FlowState::Cancelling | FlowState::Paused => Tone::Care,
            FlowState::Pending | FlowState::Running => Tone::Plain,
        }
    }
}

impl From<JobState> for Tone {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Ok => Tone::Good,
            JobState::Failed | JobState::Partial | JobState::Doomed => Tone::Bad,
            JobState::Cancelled => Tone::Care,
            JobState::Skipped | JobState::Pending => Tone::Dim,
            JobState::Running => Tone::Plain,
        }
    }
}

impl From<TaskState> for Tone {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Ok => Tone::Good,
            TaskState::Failed | TaskState::TimedOut | TaskState::Refused | TaskState::Lost => {
                Tone::Bad
            }
            TaskState::Unreachable | TaskState::Cancelled => Tone::Care,
            TaskState::Waiting | TaskState::Skipped => Tone::Dim,
            TaskState::Sent | TaskState::Running => Tone::Plain,
        }
    }
}

impl Style {
    /// A flow's state.
    pub(crate) fn flow(self, state: FlowState) -> impl fmt::Display {
        self.tone(state.as_str(), state)
    }

    /// A job's or slot's state.
    pub(crate) fn job(self, state: JobState) -> impl fmt::Display {
        self.tone(state.as_str(), state)
    }

    /// A task's state.
    pub(crate) fn task(self, state: TaskState) -> impl fmt::Display {
        self.tone(state.as_str(), state)
    }

    /// Text in a tone.
    pub(crate) fn tone<'a>(self, text: &'a str, tone: impl Into<Tone>) -> Painted<'a> {
        self.paint(text, tone.into().colour())
    }

    /// How a service stands.
    pub(crate) fn service(self, state: ServiceState) -> impl fmt::Display {
        let colour = match state {
            ServiceState::Ready => GREEN,
            ServiceState::Degraded | ServiceState::Stuck | ServiceState::Suspicious => RED,
            ServiceState::Paused => YELLOW,
            ServiceState::Stopped | ServiceState::Removed => DIM,
            ServiceState::Changing => "",
        };
        self.paint(state.as_str(), colour)
    }

    /// Text that should be seen at once.
    pub(crate) fn warning<'a>(self, text: &'a str) -> impl fmt::Display + use<'a> {
        self.paint(text, RED)
    }

    fn paint<'a>(self, text: &'a str, colour: &'static str) -> Painted<'a> {
        Painted { text, colour: if self.colour { colour } else { "" } }
    }
}

/// A player's or the conductor's words as one line that is safe to show anywhere.
pub(crate) fn one_line(text: &str) -> String {
    foreign::OneLine(text).to_string()
}

/// Where answers are written to.
pub(crate) trait Page: io::Write {
    /// Writes what a score wrote, in one line or more: to a terminal as it may be seen, to anything
    /// else as it is.
    fn foreign(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// In memory, as in a file.
impl Page for Vec<u8> {
    fn foreign(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// How long the colour is, or the end of one, that begins here: those that [`Style`] makes.
pub(crate) fn colour_at_start(bytes: &[u8]) -> Option<usize> {
    ["0", RED, GREEN, YELLOW, DIM].iter().find_map(|colour| {
        let rest = bytes.strip_prefix(b"\x1b[")?.strip_prefix(colour.as_bytes())?;
        Some(bytes.len() - rest.strip_prefix(b"m")?.len())
    })
}

pub(crate) struct Painted<'a> {
    text: &'a str,
    colour: &'static str,
}

impl fmt::Display for Painted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.colour.is_empty() {
            return f.pad(self.text);
        }
        // Padding goes around the codes, which take no room.
        write!(f, "\x1b[{}m{}\x1b[0m", self.colour, self.text)?;
        let room = f.width().unwrap_or(0).saturating_sub(self.text.len());
        write!(f, "{:room$}", "")
    }
}

/// A moment as RFC 3339 in UTC, with milliseconds where it has some.
pub(crate) fn when(moment: Timestamp) -> String {
    let ms = i64::try_from(moment.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{}ms", moment.0), |at| at.to_string())
}

/// A moment for people: the same to the second.
pub(crate) fn when_about(moment: Timestamp) -> String {
    when(Timestamp(moment.0 / 1_000 * 1_000))
}

/// A length of time as a person would tell it: tenths below a minute, then whole seconds.
pub(crate) fn elapsed(length: Millis) -> String {
    match length.0 {
        ms @ 0..1_000 => format!("{ms}ms"),
        ms @ 1_000..60_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        ms => Millis(ms / 1_000 * 1_000).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_does_not_move_columns() {
        let plain = Style::default();
        let bright = Style { colour: true, terminal: true };
        assert_eq!(format!("{:<9}|", plain.task(TaskState::Failed)), "failed   |");
        assert_eq!(format!("{:<9}|", bright.task(TaskState::Failed)), "\x1b[31mfailed\x1b[0m   |");
        assert_eq!(format!("{:<9}|", bright.task(TaskState::Running)), "running  |");
    }

    #[test]
    fn a_line_stays_one() {
        assert_eq!(one_line("a\nb\x1b\u{202e}\tc"), "a\\nb\\u{1b}\\u{202e} c");
    }

    #[test]
    fn times_are_utc_and_lengths_are_short() {
        assert_eq!(when(Timestamp(1_763_712_000_000)), "2025-11-21T08:00:00Z");
        assert_eq!(when(Timestamp(1_763_712_000_120)), "2025-11-21T08:00:00.12Z");
        assert_eq!(when_about(Timestamp(1_763_712_000_920)), "2025-11-21T08:00:00Z");
        for (ms, text) in [(999, "999ms"), (12_345, "12.3s"), (192_500, "3m12s"), (0, "0ms")] {
            assert_eq!(elapsed(Millis(ms)), text);
        }
    }
}
