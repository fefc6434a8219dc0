//! From a picture to the rows of a block.
//!
//! If everything does not fit, less is told, step by step ([`STEPS`]): what is over and what is to
//! come shrinks before what goes on, and lists are cut before jobs are. At worst the block ends with a
//! row that says where the rest is.

use std::ops::Range;

use orchestra_model::{
    state::{FlowState, JobState},
    status::{Counts, FlowStatus, JobStatus},
    time::Millis,
};

use super::{
    Frame, Picture, Row,
    bar::counted,
    job::{self, Columns, indented},
};
use crate::view::{
    flow::{named, slot_state, why},
    style::{Style, Tone},
};

/// How much is told.
#[derive(Clone, Copy, Debug)]
struct Detail {
    /// Of slots that are over.
    over: Slots,
    /// Of slots that are to come.
    to_come: Slots,
    /// Whether jobs of slots that go on are told one by one that are ok.
    ok_jobs: bool,
    /// Most rows of a list below a job.
    list: usize,
    /// Most jobs of a slot that goes on; then their sum.
    jobs: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slots {
    /// A row a job.
    Jobs,
    /// A row a slot.
    Rows,
    /// One row in all.
    Sum,
}

/// Less and less detail.
const STEPS: [Detail; 7] = [
    Detail { over: Slots::Jobs, to_come: Slots::Jobs, ok_jobs: true, list: 8, jobs: usize::MAX },
    Detail { over: Slots::Rows, to_come: Slots::Rows, ok_jobs: true, list: 8, jobs: usize::MAX },
    Detail { over: Slots::Sum, to_come: Slots::Sum, ok_jobs: true, list: 5, jobs: usize::MAX },
    Detail { over: Slots::Sum, to_come: Slots::Sum, ok_jobs: false, list: 3, jobs: usize::MAX },
    Detail { over: Slots::Sum, to_come: Slots::Sum, ok_jobs: false, list: 2, jobs: 12 },
    Detail { over: Slots::Sum, to_come: Slots::Sum, ok_jobs: false, list: 1, jobs: 6 },
    Detail { over: Slots::Sum, to_come: Slots::Sum, ok_jobs: false, list: 0, jobs: 12 },
];

/// Where a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Over,
    Present,
    ToCome,
}

/// Returns the rows of the block: as much of the picture as fits into the frame.
pub(crate) fn layout(picture: &Picture<'_>, frame: Frame) -> Vec<Row> {
    let mut rows = Vec::new();
    for detail in STEPS {
        rows = all(picture, frame, detail);
        if rows.len() <= frame.height {
            return rows;
        }
    }
    rows.truncate(frame.height.saturating_sub(1));
    if frame.height > 0 {
        let rest = format!("  … more than fits: getstatus {}", picture.flow.summary.id);
        rows.push(Row::default().tell(rest, Tone::Dim));
    }
    rows
}

fn all(picture: &Picture<'_>, frame: Frame, detail: Detail) -> Vec<Row> {
    let mut rows = vec![head(picture, frame)];
    rows.extend(above(picture, frame));
    let slots = &picture.flow.slots;
    let columns = Columns::of(shown(slots, detail), frame);
    let mut at = 0;
    while at < slots.len() {
        let phase = phase(&slots[at]);
        let same = slots[at..].iter().take_while(|jobs| self::phase(jobs) == phase).count();
        let range = at..at + same;
        at = range.end;
        let told = match phase {
            Phase::Over => detail.over,
            Phase::ToCome => detail.to_come,
            Phase::Present => Slots::Jobs,
        };
        match told {
            Slots::Jobs => {
                let jobs = || slots[range.clone()].iter().flatten();
                rows.extend(of_jobs(jobs(), phase, columns, picture, frame, detail));
            }
            Slots::Rows => rows.extend(range.map(|slot| of_slots(picture.flow, slot..slot + 1))),
            Slots::Sum => rows.push(of_slots(picture.flow, range)),
        }
    }
    rows
}

/// The jobs that have rows of their own.
fn shown(slots: &[Vec<JobStatus>], detail: Detail) -> impl Iterator<Item = &JobStatus> {
    slots
        .iter()
        .filter(move |jobs| match phase(jobs) {
            Phase::Over => detail.over == Slots::Jobs,
            Phase::ToCome => detail.to_come == Slots::Jobs,
            Phase::Present => true,
        })
        .flatten()
}

fn phase(jobs: &[JobStatus]) -> Phase {
    if jobs.iter().all(|job| job.state.is_final()) {
        Phase::Over
    } else if jobs.iter().all(|job| job.state == JobState::Pending) {
        Phase::ToCome
    } else {
        Phase::Present
    }
}

/// `42 deploy-42 running 1m40s`, and at the right what there is to say of slots, tasks and pace.
fn head(picture: &Picture<'_>, frame: Frame) -> Row {
    let flow = picture.flow;
    let summary = &flow.summary;
    let age = picture.now.since(summary.submitted_at);
    let row = Row::plain(format!("{} ", named(summary)))
        .tell(summary.state.as_str(), summary.state)
        .say(format!(" {}", Millis(age.0 / 1_000 * 1_000)));
    let present = flow.slots.iter().position(|jobs| phase(jobs) == Phase::Present);
    let slot = present.filter(|_| flow.slots.len() > 1);
    let slot = slot.map(|slot| format!("slot {} of {}", slot + 1, flow.slots.len()));
    let mut parts = Vec::new();
    let counts = flow.counts();
    let (over, tasks) = (counts.finished(), counts.total());
    parts.push(format!("{over} of {tasks} tasks"));
    let is_running = summary.state == FlowState::Running;
    parts.extend(picture.pace.rate().filter(|_| is_running));
    match (picture.pace.left().filter(|_| is_running), slot) {
        (Some(left), Some(slot)) => parts.push(format!("{left} left of {slot}")),
        (Some(left), None) => parts.push(format!("{left} left")),
        (None, Some(slot)) => parts.push(slot),
        (None, None) => {}
    }
    // What there is no room for goes from the end.
    while !parts.is_empty() {
        let text = parts.join(", ");
        let told = row.clone().at_right(&text, frame.width);
        if told != row {
            return told;
        }
        parts.pop();
    }
    row
}

/// What concerns the flow as a whole.
fn above(picture: &Picture<'_>, frame: Frame) -> Vec<Row> {
    let flow = picture.flow;
    let mut rows = Vec::new();
    if let Some(note) = picture.note {
        rows.extend(indented(note, Tone::Bad, frame, 2));
    }
    if flow.stale_store {
        let text = "nothing is sent: the store is an old copy; see orc conductor status";
        rows.extend(indented(text, Tone::Bad, frame, 2));
    }
    let tone = if flow.summary.state == FlowState::Stalled { Tone::Bad } else { Tone::Care };
    let reasons = why(flow, Style::default());
    rows.extend(reasons.iter().flat_map(|line| indented(line, tone, frame, 3)));
    rows
}

/// The rows of jobs, each with what is below it.
fn of_jobs<'a>(
    jobs: impl Iterator<Item = &'a JobStatus>,
    phase: Phase,
    columns: Columns,
    picture: &Picture<'_>,
    frame: Frame,
    detail: Detail,
) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut left_out = LeftOut::default();
    let mut told = 0;
    for job in jobs {
        let is_dull = job.state == JobState::Ok && phase == Phase::Present && !detail.ok_jobs;
        if is_dull || told == detail.jobs {
            left_out.add(job);
            continue;
        }
        told += 1;
        rows.push(job::row(job, columns, frame));
        rows.extend(job::bar_below(job, columns, frame).filter(|_| detail.list > 1));
        rows.extend(job::below(job, picture, frame, detail.list));
    }
    rows.extend(left_out.row());
    rows
}

/// Jobs that have no row of their own.
#[derive(Default)]
struct LeftOut {
    jobs: usize,
    counts: Counts,
}

impl LeftOut {
    fn add(&mut self, job: &JobStatus) {
        self.jobs += 1;
        for (state, n) in job.counts.iter() {
            self.counts.set(state, self.counts.get(state) + n);
        }
    }

    /// `  12 more jobs: 400 ok`.
    fn row(self) -> Option<Row> {
        let jobs = match self.jobs {
            0 => return None,
            1 => "1 more job".to_owned(),
            n => format!("{n} more jobs"),
        };
        Some(Row::plain(format!("  {jobs}: ")).then(counted(&self.counts)))
    }
}

/// `  42.1 ok: 2 jobs, 11 ok`, of one slot or of several.
fn of_slots(flow: &FlowStatus, range: Range<usize>) -> Row {
    let id = flow.summary.id;
    let jobs: Vec<JobStatus> = flow.slots[range.clone()].iter().flatten().cloned().collect();
    let name = match range.len() {
        1 => format!("  {id}.{} ", range.end),
        _ => format!("  {id}.{} to {id}.{} ", range.start + 1, range.end),
    };
    let state = slot_state(&jobs);
    let mut sum = LeftOut::default();
    jobs.iter().for_each(|job| sum.add(job));
    let count = if sum.jobs == 1 { "1 job".to_owned() } else { format!("{} jobs", sum.jobs) };
    Row::plain(name)
        .tell(state.as_str(), state)
        .say(format!(": {count}, "))
        .then(counted(&sum.counts))
}
