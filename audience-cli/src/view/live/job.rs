//! A job in the block: its bar and counts, and below them what it waits for and what failed.

use orchestra_model::{
    state::{JobState, WaitReason},
    status::{CanaryStatus, JobStatus},
};

use super::{
    Frame, Picture, Row, Wait,
    bar::{bar, counted},
    row::wrapped,
};
use crate::view::{
    absence,
    flow::{canary, in_words},
    style::{Style, Tone},
    task::Fold,
};

/// The longest name that is shown, in columns.
const NAME: usize = 20;
/// The widest bar, and the narrowest one that says something.
const BAR: (usize, usize) = (6, 40);
/// How many columns of hosts are shown.
const HOSTS: usize = 44;
/// Below a job, its rows begin here.
const INDENT: &str = "    ";

/// Where what stands in the rows of jobs, so that it is aligned.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Columns {
    id: usize,
    name: usize,
    bar: usize,
}

impl Columns {
    /// The columns for these jobs: what names and counts leave is the bar's.
    pub(super) fn of<'a>(jobs: impl Iterator<Item = &'a JobStatus>, frame: Frame) -> Self {
        let (mut id, mut name, mut counts) = (0, 0, 0);
        for job in jobs {
            id = id.max(job.id.to_string().len());
            name = name.max(job.name.as_str().len().min(NAME));
            counts = counts.max(counted(&job.counts).width());
        }
        let left = frame.width.saturating_sub(2 + id + 1 + name + 1 + 1 + counts);
        let bar = if left < BAR.0 { 0 } else { left.min(BAR.1) };
        Self { id, name, bar }
    }
}

/// The row of a job.
pub(super) fn row(job: &JobStatus, columns: Columns, frame: Frame) -> Row {
    let Columns { id, name, bar: width } = columns;
    let named: String = match job.name.as_str() {
        long if long.len() > NAME => format!("{}~", &long[..NAME - 1]),
        name => name.to_owned(),
    };
    let mut row = Row::plain(format!("  {:<id$} ", job.id.to_string()))
        .tell(format!("{named:<name$} "), job.state);
    if width > 0 {
        row = row.then(bar(&job.counts, width, frame.glyphs)).say(" ");
    }
    match job.state {
        JobState::Pending | JobState::Running | JobState::Ok => {}
        state => row = row.tell(format!("{state}: "), state),
    }
    row.then(counted(&job.counts))
}

/// The bar of a job that goes on, where there is no room for it beside the counts.
pub(super) fn bar_below(job: &JobStatus, columns: Columns, frame: Frame) -> Option<Row> {
    let width = frame.width.saturating_sub(INDENT.len()).min(BAR.1);
    let goes_on = matches!(job.state, JobState::Running | JobState::Doomed);
    (columns.bar == 0 && goes_on && width >= BAR.0)
        .then(|| Row::plain(INDENT).then(bar(&job.counts, width, frame.glyphs)))
}

/// The rows below a job, of each kind at most `most`.
pub(super) fn below(job: &JobStatus, picture: &Picture<'_>, frame: Frame, most: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    if job.state == JobState::Running {
        rows.extend(job.canary.iter().flat_map(|status| of_canary(job, *status, frame)));
        let waits: Vec<&Wait> = picture
            .waits
            .iter()
            .filter(|wait| wait.job == Some(job.id) && wait.reason != Some(WaitReason::Canary))
            .collect();
        rows.extend(summary_of_waits(job, &waits));
        if waits.is_empty() {
            let lines = absence::job(job, Style::default());
            rows.extend(lines.iter().flat_map(|line| indented(line, Tone::Care, frame, 2)));
        }
        let rest = format!("orc explain {} tells", job.id.flow);
        rows.extend(some(&waits, most, &rest, |wait| of_wait(wait, frame, most)));
    }
    let failures: Vec<&Fold> = picture.failures.iter().filter(|fold| fold.job == job.id).collect();
    let rest = format!("getstatus {} tells", job.id.flow);
    rows.extend(some(&failures, most, &rest, |fold| vec![of_failure(fold)]));
    rows
}

/// The rows of the first items, and one that tells how many more there are and what tells the rest.
fn some<T>(items: &[T], most: usize, rest: &str, rows: impl Fn(&T) -> Vec<Row>) -> Vec<Row> {
    let shown = if items.len() <= most { items.len() } else { most.saturating_sub(1) };
    let mut all: Vec<Row> = items[..shown].iter().flat_map(rows).collect();
    if items.len() > shown {
        let more = if shown == 0 { "" } else { "more " };
        let text = format!("{INDENT}{} {more}reasons: {rest}", items.len() - shown);
        all.push(Row::default().tell(text, Tone::Dim));
    }
    all
}

/// A canary that is done and waits for a person must not be overlooked.
fn of_canary(job: &JobStatus, status: CanaryStatus, frame: Frame) -> Vec<Row> {
    let waits_for_somebody = status.ok == status.tasks && status.until.is_none();
    let tone = if waits_for_somebody { Tone::Care } else { Tone::Plain };
    indented(&canary(job, status), tone, frame, 3)
}

/// `waits: 39 for room in the window, 1 for an absent player`, without those that have rows of their
/// own.
fn summary_of_waits(job: &JobStatus, explained: &[&Wait]) -> Option<Row> {
    let has_rows = |reason: &WaitReason| explained.iter().any(|wait| wait.reason == Some(*reason));
    let left = job
        .waiting
        .iter()
        .filter(|(reason, _)| **reason != WaitReason::Canary && !has_rows(reason));
    let words: Vec<String> = left
        .map(|(reason, n)| match reason {
            WaitReason::Window => format!("{n} {} of {}", in_words(*reason), job.window),
            _ => format!("{n} {}", in_words(*reason)),
        })
        .collect();
    (!words.is_empty())
        .then(|| Row::default().tell(format!("{INDENT}waits: {}", words.join(", ")), Tone::Dim))
}

/// `fe[11-20] (10): web in cluster east of shop is full: db1 failed in 41.1.1`.
fn of_wait(wait: &Wait, frame: Frame, most: usize) -> Vec<Row> {
    let tone = if wait.dead { Tone::Bad } else { Tone::Care };
    let colon = if wait.hosts.is_empty() { "" } else { ": " };
    let text = format!("{}{colon}{}", some_hosts(&wait.hosts), wait.text);
    indented(&text, tone, frame, if most > 2 { 3 } else { 2 })
}

/// `fe[7,13] (2) failed: exit 1: Connection refused`.
fn of_failure(fold: &Fold) -> Row {
    let blank = if fold.hosts.is_empty() { "" } else { " " };
    let colon = if fold.why.is_empty() { "" } else { ": " };
    Row::plain(format!("{INDENT}{}{blank}", some_hosts(&fold.hosts)))
        .tell(fold.state.as_str(), fold.state)
        .say(format!("{colon}{}", fold.why))
}

/// Text in at most so many rows.
pub(super) fn indented(text: &str, tone: Tone, frame: Frame, most: usize) -> Vec<Row> {
    let width = frame.width.saturating_sub(INDENT.len() + 2);
    let rows = wrapped(text, width, most).into_iter().enumerate();
    rows.map(|(n, line)| {
        let more = if n == 0 { "" } else { "  " };
        Row::default().tell(format!("{INDENT}{more}{line}"), tone)
    })
    .collect()
}

/// A folded host set that keeps its number where it is cut: `fe[1-3,5,7,…] (120)`.
fn some_hosts(hosts: &str) -> String {
    let Some((names, number)) = hosts.rsplit_once(" (").filter(|_| hosts.len() > HOSTS) else {
        return hosts.to_owned();
    };
    // Host names are ASCII.
    let kept = names.get(..HOSTS - number.len() - 4).unwrap_or(names);
    format!("{kept}… ({number}")
}
