//! The live block: what stands on a terminal while somebody waits for a flow.
//!
//! That the flow ended is heard from its events, never asked for. The picture is asked for whenever an
//! event came, because events tell neither what tasks wait for nor what a score wrote; and every few
//! seconds, because players that come and go make no event of a flow. One question is open at a time,
//! and the pauses between them grow with the time that answers take, so that nobody who watches slows
//! a conductor down.
//!
//! ```text
//! an event ─→ stale ─→ question (not before `ask_at`) ─→ answer ─→ changed ─→ drawn (not before `draw_at`)
//! ```

use std::{pin::Pin, time::Duration};

use orchestra_client::{Client, TaskFilter};
use orchestra_model::{
    ids::{FlowId, FlowPart, Reference},
    score::BuiltIn,
    state::{FlowState, TaskState, WaitReason},
    status::{FlowStatus, JobStatus},
    time::Millis,
};
use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

use crate::{
    console::{Area, Console},
    error::Failure,
    flow::status::failures,
    program::now,
    view::{
        flow::has_not_ok,
        live::{Frame, Pace, Picture, Wait, layout},
        one_line,
        task::{Fold, NOT_OK},
    },
};

/// Between two drawings at least.
const DRAWING: Duration = Duration::from_millis(100);
/// Between two drawings at most, because the time that has passed is part of the picture.
const TICK: Duration = Duration::from_secs(1);
/// Between two questions at least.
const ASKING: Duration = Duration::from_millis(200);
/// Between two questions at most.
const LOOKING: Duration = Duration::from_secs(5);
/// The same while a bundle arrives, which makes no events.
const LOOKING_AT_BYTES: Duration = Duration::from_secs(1);
/// The pause after an answer is so many times as long as the answer took.
const REST: u32 = 10;
/// A question for which there is no answer yet after this long is told.
const SILENCE: Duration = Duration::from_secs(10);

/// What an answer brings.
struct Answer {
    flow: FlowStatus,
    /// `None`: not asked for, or no answer.
    waits: Option<Vec<Wait>>,
    failures: Option<Vec<Fold>>,
}

/// A question that is open.
struct Open {
    since: Instant,
    answer: Pin<Box<dyn Future<Output = Result<Answer, Failure>>>>,
}

/// The block of one flow.
pub(super) struct Block {
    area: Area,
    resized: Signal,
    /// What is shown; `None` before the first answer.
    flow: Option<FlowStatus>,
    waits: Vec<Wait>,
    failures: Vec<Fold>,
    /// How many tasks were not ok when failures were listed last.
    listed: u32,
    pace: Pace,
    /// What is the matter with the connection.
    note: Option<String>,
    /// Whether something happened since the last question.
    stale: bool,
    /// Whether something is to be drawn.
    changed: bool,
    open: Option<Open>,
    asked_at: Instant,
    ask_at: Instant,
    drawn_at: Instant,
}

impl Block {
    /// A block where standard error is a terminal that can be drawn on.
    pub(super) fn on(console: &Console) -> Option<Self> {
        console.frame()?;
        // Without the signal the next drawing finds the new size.
        let resized = signal(SignalKind::window_change()).ok()?;
        let now = Instant::now();
        Some(Self {
            area: Area::default(),
            resized,
            flow: None,
            waits: Vec::new(),
            failures: Vec::new(),
            listed: 0,
            pace: Pace::default(),
            note: None,
            stale: true,
            changed: false,
            open: None,
            asked_at: now,
            ask_at: now,
            drawn_at: now,
        })
    }

    /// Something happened to the flow.
    pub(super) fn hear(&mut self) {
        self.stale = true;
        self.changed |= self.note.take().is_some();
    }

    /// The flow as its event stream told it.
    pub(super) fn show(&mut self, flow: &FlowStatus) {
        self.hear();
        self.take_flow(flow.clone());
    }

    /// The connection was lost.
    pub(super) fn lose(&mut self, why: &Failure) {
        // What was asked over that connection has no answer.
        self.open = None;
        self.note = Some(format!("{}; trying again", one_line(&why.to_string())));
        self.changed = true;
    }

    /// Tells a line above the block.
    pub(super) fn above(&mut self, line: impl std::fmt::Display, console: &Console) {
        self.clear(console);
        console.narrate(line);
        self.changed = true;
    }

    /// Takes the block off the terminal.
    pub(super) fn clear(&mut self, console: &Console) {
        if !self.area.is_empty()
            && let Some(Frame { width, .. }) = console.frame()
        {
            console.draw(&mut self.area, &[], width);
        }
    }

    /// Waits until there is something to do, and does it. Nothing is lost if this is dropped on the
    /// way.
    pub(super) async fn turn(&mut self, client: &Client, flow: Option<FlowId>, console: &Console) {
        let next = self.next(flow);
        select! {
            answer = answered(&mut self.open) => self.take(answer),
            // The size is asked for whenever something is drawn.
            _ = self.resized.recv() => self.changed = true,
            () = sleep_until(next) => {}
        }
        let time = Instant::now();
        if let Some(flow) = flow.filter(|_| self.wants_to_ask() && self.ask_at <= time) {
            self.ask(client.clone(), flow);
        }
        if self.draw_at() <= time {
            self.draw(console);
        }
    }

    /// When there is something to do next.
    fn next(&self, flow: Option<FlowId>) -> Instant {
        match flow.is_some() && self.open.is_none() {
            true if self.stale => self.ask_at.min(self.draw_at()),
            true => self.ask_at.max(self.asked_at + self.looking()).min(self.draw_at()),
            false => self.draw_at(),
        }
    }

    fn wants_to_ask(&self) -> bool {
        self.open.is_none() && (self.stale || self.asked_at.elapsed() >= self.looking())
    }

    /// After how long the picture is asked for although nothing was heard.
    fn looking(&self) -> Duration {
        match self.flow.as_ref().is_some_and(is_delivering) {
            true => LOOKING_AT_BYTES,
            false => LOOKING,
        }
    }

    fn draw_at(&self) -> Instant {
        self.drawn_at + if self.changed { DRAWING } else { TICK }
    }

    fn ask(&mut self, mut client: Client, flow: FlowId) {
        self.stale = false;
        self.asked_at = Instant::now();
        let listed = self.listed;
        let answer = Box::pin(async move { picture(&mut client, flow, listed).await });
        self.open = Some(Open { since: self.asked_at, answer });
    }

    fn take(&mut self, answer: Result<Answer, Failure>) {
        let took = self.asked_at.elapsed();
        self.ask_at = Instant::now() + ASKING.max(took * REST);
        // Without an answer the stream is lost too, or the next answer tells.
        let Ok(Answer { flow, waits, failures }) = answer else { return };
        self.waits = waits.unwrap_or_default();
        if let Some(failures) = failures {
            self.failures = failures;
            self.listed = not_ok(&flow);
        }
        self.take_flow(flow);
    }

    fn take_flow(&mut self, flow: FlowStatus) {
        self.pace.note(&flow, now());
        self.flow = Some(flow);
        self.changed = true;
    }

    fn draw(&mut self, console: &Console) {
        self.drawn_at = Instant::now();
        self.changed = false;
        let (Some(flow), Some(frame)) = (&self.flow, console.frame()) else { return };
        let silent = self.open.as_ref().map(|open| open.since.elapsed());
        let silent = silent.filter(|silent| *silent >= SILENCE).map(|silent| {
            format!("the conductor has not answered for {}", Millis(silent.as_secs() * 1_000))
        });
        let picture = Picture {
            flow,
            waits: &self.waits,
            failures: &self.failures,
            pace: &self.pace,
            note: self.note.as_deref().or(silent.as_deref()),
            now: now(),
        };
        console.draw(&mut self.area, &layout(&picture, frame), frame.width);
    }
}

/// The answer to the open question; never, if none is open.
async fn answered(open: &mut Option<Open>) -> Result<Answer, Failure> {
    let Some(question) = open else { return std::future::pending().await };
    let answer = question.answer.as_mut().await;
    *open = None;
    answer
}

/// Asks for all that the block shows of a flow of which so many tasks were known to be not ok.
async fn picture(client: &mut Client, id: FlowId, listed: u32) -> Result<Answer, Failure> {
    let flow = client.flow(Some(id)).await?;
    let whole = Reference { flow: Some(id), part: FlowPart::Flow, host: None };
    let waits = match needs_explanation(&flow) {
        true => client.explain(&whole).await.ok().map(|explained| Wait::of(&explained)),
        false => None,
    };
    let failures = match not_ok(&flow) != listed {
        true => {
            let filter =
                TaskFilter { states: NOT_OK.to_vec(), last_lines: true, ..TaskFilter::default() };
            failures(client, id, &filter).await.ok().map(crate::view::task::Failures::folds)
        }
        false => None,
    };
    Ok(Answer { flow, waits, failures })
}

/// Whether counts alone do not tell what the flow waits for.
fn needs_explanation(flow: &FlowStatus) -> bool {
    let is_clear = |reason: &WaitReason| matches!(reason, WaitReason::Slot | WaitReason::Window);
    let waits = |job: &JobStatus| {
        job.waiting.keys().any(|reason| !is_clear(reason))
            || job.absence.as_ref().is_some_and(|absence| !absence.is_empty())
    };
    let explains = flow.slots.iter().flatten().any(waits) || is_delivering(flow);
    flow.summary.state != FlowState::Paused && explains
}

/// Whether tasks are in flight whose bundles may still have to arrive.
fn is_delivering(flow: &FlowStatus) -> bool {
    let in_flight = |job: &JobStatus| {
        TaskState::ALL.iter().any(|state| state.is_in_flight() && job.counts.get(*state) > 0)
    };
    let delivers = |job: &JobStatus| BuiltIn::of(&job.score) == Some(BuiltIn::Deliver);
    flow.slots.iter().flatten().any(|job| delivers(job) && in_flight(job))
}

/// How many tasks are not ok.
fn not_ok(flow: &FlowStatus) -> u32 {
    let jobs = flow.slots.iter().flatten().filter(|job| has_not_ok(job));
    jobs.map(|job| NOT_OK.iter().map(|state| job.counts.get(*state)).sum::<u32>()).sum()
}
