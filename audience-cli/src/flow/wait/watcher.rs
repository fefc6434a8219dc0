//! Waiting for flows until a deadline or a Ctrl-C.
//!
//! ```text
//!            ┌── lost ── reconnect with backoff ──┐
//!            ▼                                    │
//!  watch ─→ events ─→ … ─→ final status ─→ verdict, failures, exit code
//!            │
//!            ├── --wait-timeout ─→ 124, the flow goes on
//!            └── Ctrl-C ─→ detached, the flow goes on ── Ctrl-C ─→ cancel it?
//! ```

use std::{io, time::Duration};

use orchestra_client::{Client, Exit, TaskFilter};
use orchestra_model::{ids::FlowId, status::FlowStatus};
use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};

use super::{Following, From, Waiting};
use crate::{
    console::Console,
    error::{Failure, Render as _},
    flow::status::{Shape, failures, written},
    view::{
        elapsed,
        flow::{Verdict, counts, has_not_ok, named},
        task::NOT_OK,
    },
};

/// How long after the first Ctrl-C a second one asks about cancelling.
const SECOND_CTRL_C: Duration = Duration::from_secs(3);

/// The flow to wait for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// By number.
    Flow(FlowId),
    /// The newest of ours; its number is learnt from the first status.
    Last,
}

/// Waits for flows, one after the other, until a deadline or a Ctrl-C.
pub(crate) struct Watcher {
    deadline: Option<Instant>,
    jsonl: bool,
    /// How what tasks wrote is shown at the end.
    shape: Option<Shape>,
    from: From,
    interrupts: Signal,
}

impl Target {
    fn id(self) -> Option<FlowId> {
        match self {
            Target::Flow(id) => Some(id),
            Target::Last => None,
        }
    }
}

/// How a flow was left.
enum Left {
    Ended {
        status: Box<FlowStatus>,
        /// Whether a block showed it, of which nothing remains.
        had_block: bool,
    },
    /// It goes on, and that was told.
    Before(Exit),
}

/// Why the waiting is over.
enum Over {
    Ended(Box<FlowStatus>),
    TimedOut,
    Interrupted,
}

impl Watcher {
    /// The timeout begins now, and Ctrl-C no longer ends the program.
    pub(crate) fn new(waiting: &Waiting, from: From) -> Result<Self, Failure> {
        let interrupts = signal(SignalKind::interrupt())
            .map_err(|error| Failure::broken("listening for Ctrl-C").because(error))?;
        Ok(Self {
            deadline: waiting.wait_timeout.map(|timeout| Instant::now() + timeout.to_std()),
            jsonl: waiting.jsonl,
            shape: waiting.at_end.shape(),
            from,
            interrupts,
        })
    }

    /// Waits for one flow and tells how it ended.
    pub(super) async fn watch(
        &mut self,
        client: &mut Client,
        target: Target,
        console: &mut Console,
    ) -> Result<Exit, Failure> {
        if self.is_out_of_time() {
            return self.judge(client, target.id(), console).await;
        }
        match self.follow(client, target.id(), console).await? {
            Left::Ended { status, had_block } => {
                if self.shape.is_none() {
                    console.answer(Verdict(&status))?;
                }
                tell_end(client, &status, had_block, console).await;
                if let Some(shape) = self.shape {
                    written(status.summary.id, shape, client, console).await?;
                }
                Ok(Exit::of_flow(&status))
            }
            Left::Before(exit) => Ok(exit),
        }
    }

    /// Shows how one flow goes on until it ended, and leaves the rest to the caller. Returns the exit
    /// code if the waiting is over before.
    pub(crate) async fn show(
        &mut self,
        client: &mut Client,
        flow: Option<FlowId>,
        console: &mut Console,
    ) -> Result<Option<Exit>, Failure> {
        Ok(match self.follow(client, flow, console).await? {
            Left::Ended { .. } => None,
            Left::Before(exit) => Some(exit),
        })
    }

    /// Follows a flow until it ends or the waiting is over.
    async fn follow(
        &mut self,
        client: &mut Client,
        id: Option<FlowId>,
        console: &mut Console,
    ) -> Result<Left, Failure> {
        let mut following = Following::new(id, self.from, self.jsonl, console);
        let over = select! {
            ended = following.until_end(client, console) => Over::Ended(ended?),
            () = reached(self.deadline) => Over::TimedOut,
            _ = self.interrupts.recv() => Over::Interrupted,
        };
        following.leave(console);
        let id = following.id();
        match over {
            Over::Ended(status) => Ok(Left::Ended { status, had_block: following.has_block() }),
            Over::TimedOut => {
                tell_detached(id, "still goes on", console);
                Ok(Left::Before(Exit::WaitTimeout))
            }
            Over::Interrupted => {
                tell_detached(id, "goes on", console);
                if let Some(id) = id.filter(|_| console.is_interactive()) {
                    self.offer_cancel(client, id, console).await?;
                }
                Ok(Left::Before(Exit::NotOver))
            }
        }
    }

    fn is_out_of_time(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Returns how a flow ended for which the waiting is over, if it has ended.
    async fn judge(
        &self,
        client: &mut Client,
        id: Option<FlowId>,
        console: &Console,
    ) -> Result<Exit, Failure> {
        let status = client.flow(id).await?;
        if !status.summary.state.is_final() {
            tell_detached(Some(status.summary.id), "still goes on", console);
            return Ok(Exit::WaitTimeout);
        }
        tell_end(client, &status, false, console).await;
        Ok(Exit::of_flow(&status))
    }

    /// A second Ctrl-C, soon after the first, asks whether to cancel; anything else leaves.
    async fn offer_cancel(
        &mut self,
        client: &mut Client,
        flow: FlowId,
        console: &Console,
    ) -> Result<(), Failure> {
        console.narrate("press Ctrl-C again to cancel it");
        select! {
            () = sleep(SECOND_CTRL_C) => return Ok(()),
            _ = self.interrupts.recv() => {}
        }
        console.narrate_text(&format!("cancel flow {flow}? [y/N] "));
        let line = select! {
            line = a_line() => line,
            _ = self.interrupts.recv() => String::new(),
        };
        if matches!(line.trim(), "y" | "Y" | "yes") {
            let (flow, state) = client.cancel(Some(flow), "", false).await?;
            console.narrate(format_args!("{flow} {state}"));
        } else {
            console.narrate("not cancelled");
        }
        Ok(())
    }
}

/// Reads a line of standard input. A read cannot be cancelled, so a thread does it, which ends with
/// the process.
async fn a_line() -> String {
    let (answer, answered) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = io::stdin().read_line(&mut line);
        let _ = answer.send(line);
    });
    answered.await.unwrap_or_default()
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Tells the verdict, and what did not end ok, folded. Of a flow that a block showed the counts are
/// told too, which elsewhere the jobs' lines have told.
async fn tell_end(client: &mut Client, flow: &FlowStatus, with_counts: bool, console: &Console) {
    let style = console.narration();
    let summary = &flow.summary;
    let took = summary.ended_at.map(|at| elapsed(at.since(summary.submitted_at)));
    let after = took.map_or_else(String::new, |took| format!(" after {took}"));
    let counts = match with_counts {
        true => format!(": {}", counts(&flow.counts())),
        false => String::new(),
    };
    let state = style.flow(summary.state);
    console.narrate(format_args!("{} {state}{after}{counts}", named(summary)));
    if !flow.slots.iter().flatten().any(has_not_ok) {
        return;
    }
    let filter = TaskFilter { states: NOT_OK.to_vec(), last_lines: true, ..TaskFilter::default() };
    match failures(client, summary.id, &filter).await {
        Ok(failures) => {
            let mut text = Vec::new();
            // A write into memory does not fail.
            let _ = failures.write(&mut text, style);
            console.narrate_text(&String::from_utf8_lossy(&text));
        }
        // The verdict stands whether or not the list came.
        Err(failure) => console.narrate_text(&failure.render()),
    }
}

fn tell_detached(id: Option<FlowId>, how: &str, console: &Console) {
    match id {
        Some(id) => {
            console.narrate(format_args!("flow {id} {how}; to wait for it again: orc wait {id}"));
        }
        None => console.narrate("not waiting any longer"),
    }
}
