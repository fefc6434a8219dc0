//! Colour, times, and text that comes from elsewhere.

use std::{fmt, io};

use jiff::{
    civil::{DateTime, Time},
    tz::{Offset, TimeZone},
};
use orchestra_client::ServiceState;
use orchestra_model::{
    foreign,
    names::HostName,
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

    /// What begins and ends a tone, around text that cannot be given as one.
    pub(crate) fn around(self, tone: Tone) -> (String, &'static str) {
        match self.colour && tone != Tone::Plain {
            true => (format!("\x1b[{}m", tone.colour()), "\x1b[0m"),
            false => (String::new(), ""),
        }
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

/// Colours that tell hosts apart, none of which means anything else.
const HOSTS: [&str; 6] = ["34", "35", "36", "94", "95", "96"];

impl Style {
    /// A host whose lines stand among those of others: each name has its colour, always the same.
    pub(crate) fn host(self, host: &HostName) -> Painted<'_> {
        let sum =
            host.as_str().bytes().fold(0_usize, |sum, byte| sum * 31 % 65_521 + usize::from(byte));
        let colour = if self.colour { HOSTS[sum % HOSTS.len()] } else { "" };
        Painted { text: host.as_str(), colour }
    }
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

/// A moment for programs: RFC 3339 in UTC, with milliseconds where it has some.
pub(crate) fn when(moment: Timestamp) -> String {
    let ms = i64::try_from(moment.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{}ms", moment.0), |at| at.to_string())
}

/// A moment for people, to the second: RFC 3339 in the zone of this machine (`TZ`), which can be pasted
/// where a time is asked for.
pub(crate) fn when_about(moment: Timestamp) -> String {
    // What tests expect is the same on every machine.
    let zone = if cfg!(test) { TimeZone::UTC } else { TimeZone::system() };
    when_in(&zone, moment)
}

fn when_in(zone: &TimeZone, moment: Timestamp) -> String {
    let seconds = i64::try_from(moment.0 / 1_000).unwrap_or(i64::MAX);
    let Ok(at) = jiff::Timestamp::from_second(seconds) else {
        return format!("{}ms", moment.0);
    };
    if is_utc(zone, at) {
        return at.to_string();
    }
    at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// Whether a zone is no place's: its offset is nothing, the whole year. What names no place is UTC by one
/// of its names, a file without a name, or no zone at all.
fn is_utc(zone: &TimeZone, at: jiff::Timestamp) -> bool {
    let is_a_place = |name: &str| name.contains('/') && !name.starts_with("Etc/");
    zone.to_offset(at) == Offset::UTC && !zone.iana_name().is_some_and(is_a_place)
}

/// Reads a moment as a person writes it: RFC 3339, or a date, with or without a time, in the zone of
/// this machine. Milliseconds since the epoch.
pub(crate) fn read_moment(text: &str) -> Result<u64, String> {
    read_moment_in(&TimeZone::system(), text)
}

fn read_moment_in(zone: &TimeZone, text: &str) -> Result<u64, String> {
    let there = || text.parse::<DateTime>().ok()?.to_zoned(zone.clone()).ok();
    let moment = match text.parse::<jiff::Timestamp>() {
        Ok(moment) => moment,
        Err(_) => there().ok_or("expected a time like 2026-11-21T08:00:00Z or 2026-11-21")?.into(),
    };
    u64::try_from(moment.as_millisecond()).map_err(|_| "it is before 1970".to_owned())
}

/// Reads a moment to come: as [`read_moment`] does, or a time of day like `22:00`, which is the next
/// such time of this machine's zone.
pub(crate) fn read_coming_moment(now: Timestamp, text: &str) -> Result<Timestamp, String> {
    read_coming_moment_in(&TimeZone::system(), now, text)
}

fn read_coming_moment_in(zone: &TimeZone, now: Timestamp, text: &str) -> Result<Timestamp, String> {
    let next = |time: Time| {
        let now = jiff::Timestamp::from_millisecond(i64::try_from(now.0).ok()?).ok()?;
        let here = now.to_zoned(zone.clone());
        let today = here.date().to_datetime(time).to_zoned(zone.clone()).ok()?;
        let coming = match today > here {
            true => today,
            false => here.date().tomorrow().ok()?.to_datetime(time).to_zoned(zone.clone()).ok()?,
        };
        u64::try_from(coming.timestamp().as_millisecond()).ok().map(Timestamp)
    };
    // `2026-11-21` would be a time of day of some kind as well.
    let is_time = text.len() <= "22:00:00".len() && text.contains(':');
    let time: Option<Time> = text.parse().ok().filter(|_| is_time);
    match time {
        Some(time) => next(time).ok_or_else(|| format!("there is no {text} to come")),
        None => match read_moment_in(zone, text) {
            Ok(moment) => Ok(Timestamp(moment)),
            Err(_) => {
                Err("expected a time like 22:00 or 2026-11-21T08:00, or a length like 2h".into())
            }
        },
    }
}

/// How long ago something was, for people: its two largest units, and days alone from a week on.
pub(crate) fn ago(now: Timestamp, moment: Timestamp) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    /// From here on the smaller unit tells nothing.
    const LONG: u64 = 7 * 86_400;
    let seconds = now.since(moment).0 / 1_000;
    let largest = UNITS.iter().position(|(_, length)| seconds >= *length);
    let largest = largest.unwrap_or(UNITS.len() - 1);
    let (unit, length) = UNITS[largest];
    let (mut text, rest) = (format!("{}{unit}", seconds / length), seconds % length);
    let smaller = UNITS.get(largest + 1).filter(|_| seconds < LONG);
    if let Some((unit, length)) = smaller.filter(|(_, length)| rest >= *length) {
        text.push_str(&format!("{}{unit}", rest / length));
    }
    text.push_str(" ago");
    text
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
    fn people_read_and_write_the_time_of_their_zone() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let (winter, summer) = (Timestamp(1_763_712_000_920), Timestamp(1_751_364_000_000));
        assert_eq!(when_in(&zone, winter), "2025-11-21T09:00:00+01:00");
        assert_eq!(when_in(&zone, summer), "2025-07-01T12:00:00+02:00");
        for text in ["2025-11-21T09:00:00+01:00", "2025-11-21T08:00:00Z", "2025-11-21T09:00"] {
            assert_eq!(read_moment_in(&zone, text), Ok(1_763_712_000_000), "{text}");
        }
        assert_eq!(read_moment_in(&zone, "2025-11-21"), Ok(1_763_712_000_000 - 9 * 3_600_000));
        for bad in ["yesterday", "", "1969-12-31T00:00:00Z", "5", "2025-13-01"] {
            assert!(read_moment_in(&zone, bad).is_err(), "{bad}");
        }
        // A place tells its offset also while that is nothing.
        let greenwich = TimeZone::posix("GMT0BST,M3.5.0/1,M10.5.0").unwrap();
        assert_eq!(when_in(&greenwich, summer), "2025-07-01T11:00:00+01:00");
    }

    #[test]
    fn a_time_of_day_is_the_next_such_time_of_this_zone() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let at = |text: &str| read_moment_in(&zone, text).map(Timestamp).unwrap();
        let now = at("2025-11-21T09:00:00");
        let coming = |text: &str| read_coming_moment_in(&zone, now, text);
        assert_eq!(coming("22:00"), Ok(at("2025-11-21T22:00:00")));
        assert_eq!(coming("09:00:01"), Ok(at("2025-11-21T09:00:01")));
        assert_eq!(coming("09:00"), Ok(at("2025-11-22T09:00:00")));
        assert_eq!(coming("2025-11-23T07:30"), Ok(at("2025-11-23T07:30:00")));
        assert_eq!(coming("2025-11-23"), Ok(at("2025-11-23")));
        for bad in ["", "22", "25:00", "soon"] {
            assert!(coming(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn how_long_ago_something_was_has_two_units() {
        let now = Timestamp(900_000_000);
        for (seconds, text) in [
            (0, "0s ago"),
            (59, "59s ago"),
            (60, "1m ago"),
            (100, "1m40s ago"),
            (3_600, "1h ago"),
            (3_659, "1h ago"),
            (7_260, "2h1m ago"),
            (183_600, "2d3h ago"),
            (700_000, "8d ago"),
        ] {
            assert_eq!(ago(now, Timestamp(now.0 - seconds * 1_000)), text);
        }
        // Of a clock that is ahead.
        assert_eq!(ago(now, Timestamp(now.0 + 5_000)), "0s ago");
    }

    #[test]
    fn times_are_utc_and_lengths_are_short() {
        assert_eq!(when(Timestamp(1_763_712_000_000)), "2025-11-21T08:00:00Z");
        assert_eq!(when(Timestamp(1_763_712_000_120)), "2025-11-21T08:00:00.12Z");
        assert_eq!(when_about(Timestamp(1_763_712_000_920)), "2025-11-21T08:00:00Z");
        assert_eq!(when(Timestamp(u64::MAX)), format!("{}ms", u64::MAX));
        for (ms, text) in [(999, "999ms"), (12_345, "12.3s"), (192_500, "3m12s"), (0, "0ms")] {
            assert_eq!(elapsed(Millis(ms)), text);
        }
    }
}
