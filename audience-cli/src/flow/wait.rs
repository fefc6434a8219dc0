//! `orc wait` and `submitjob --wait`: by events, never by polling.
//!
//! ```text
//!            ┌── lost ── reconnect with backoff ──┐
//!            ▼                                    │
//!  watch ─→ events ─→ … ─→ final status ─→ verdict, failures, exit code
//!            │
//!            ├── --wait-timeout ─→ 124, the flow goes on
//!            └── Ctrl-C ─→ detached, the flow goes on ── Ctrl-C ─→ cancel it?
//! ```
//!
//! A connection that is lost is no verdict: the next stream begins with what changed since the last
//! cursor that was told, and what of that was told already is dropped.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use orchestra_model::{ids::FlowId, status::FlowStatus};
use orchestra_proto::{Watched, v1};
use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};

use super::{several::Several, status::failures, told::Told};
use crate::program::Program;
use crate::{
    args::{WaitArgs, Waiting},
    client::{Backoff, Client, TaskFilter, failure, is_lost},
    console::unwritten,
    error::Failure,
    exit::Exit,
    view::{
        elapsed,
        flow::progress::{Progress, json_line},
        flow::{has_not_ok, named},
        json,
        task::NOT_OK,
    },
};

/// How long after the first Ctrl-C a second one asks about cancelling.
const SECOND_CTRL_C: Duration = Duration::from_secs(3);

/// `orc wait`: flow after flow, under one timeout. When that is over, the others are looked at once:
/// some may have ended.
pub(crate) fn wait(args: &WaitArgs, program: &mut Program) -> Result<Exit, Failure> {
    let flows = args.flows()?;
    if args.shared.json && flows.len() > 1 {
        return Err(Failure::usage("waiting for several flows with --json")
            .hint("--jsonl tells of several; or getstatus --json afterwards"));
    }
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let mut client = Client::connect(connection).await?;
        let mut watcher = Watcher::new(&args.waiting, From::Now, program)?;
        let mut several = Several::new("waiting for flows", flows.len());
        for flow in flows {
            let target = flow.map_or(Target::Last, Target::Flow);
            match watcher.watch(&mut client, target, program).await {
                // Somebody wants to be gone.
                Ok(Exit::NotOver) => return Ok(Exit::NotOver),
                Ok(exit) => several.took(exit),
                Err(failure) => several.failed(flow, failure)?,
            }
        }
        Ok(several.finish())
    })
}

/// The flow to wait for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// By number.
    Flow(FlowId),
    /// The newest of ours; its number is learnt from the first status.
    Last,
}

/// Waits for flows, one after the other, until a deadline or a Ctrl-C.
pub(super) struct Watcher {
    deadline: Option<Instant>,
    jsonl: bool,
    json: bool,
    from: From,
    interrupts: Signal,
}

/// From when on a person is told of a flow. A program (`--jsonl`) is told everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Now,
    Beginning,
}

/// Why the waiting is over.
enum Over {
    Ended(Box<FlowStatus>),
    TimedOut,
    Interrupted,
}

impl Watcher {
    /// The timeout begins now, and Ctrl-C no longer ends the program.
    pub(super) fn new(waiting: &Waiting, from: From, program: &Program) -> Result<Self, Failure> {
        let interrupts = signal(SignalKind::interrupt())
            .map_err(|error| Failure::broken("listening for Ctrl-C").because(error))?;
        Ok(Self {
            deadline: waiting.wait_timeout.map(|timeout| Instant::now() + timeout.to_std()),
            jsonl: waiting.jsonl,
            json: program.shared.json,
            from,
            interrupts,
        })
    }

    /// Waits for one flow and tells how it ended.
    pub(super) async fn watch(
        &mut self,
        client: &mut Client,
        target: Target,
        program: &mut Program,
    ) -> Result<Exit, Failure> {
        let id = match target {
            Target::Flow(id) => Some(id),
            Target::Last => None,
        };
        if self.is_out_of_time() {
            return self.judge(client, id, program).await;
        }
        let mut following = Following::new(id, self.from, self.jsonl);
        let over = select! {
            ended = following.until_end(client, program) => Over::Ended(ended?),
            () = reached(self.deadline) => Over::TimedOut,
            _ = self.interrupts.recv() => Over::Interrupted,
        };
        let id = following.id;
        match over {
            Over::Ended(status) => {
                if self.json {
                    json::document(
                        &mut program.console.out,
                        "flow",
                        &json::WholeFlow::new(&status),
                    )
                    .map_err(unwritten)?;
                }
                tell_end(client, &status, program).await;
                Ok(Exit::of_flow(&status))
            }
            Over::TimedOut => {
                tell_detached(id, "still goes on", program);
                Ok(Exit::WaitTimeout)
            }
            Over::Interrupted => {
                tell_detached(id, "goes on", program);
                if let Some(id) = id.filter(|_| program.console.interactive) {
                    self.offer_cancel(client, id, program).await?;
                }
                Ok(Exit::NotOver)
            }
        }
    }

    fn is_out_of_time(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// How a flow ended that is waited for no longer, if it has.
    async fn judge(
        &self,
        client: &mut Client,
        id: Option<FlowId>,
        program: &mut Program,
    ) -> Result<Exit, Failure> {
        let status = client.flow(id).await?;
        if !status.summary.state.is_final() {
            tell_detached(Some(status.summary.id), "still goes on", program);
            return Ok(Exit::WaitTimeout);
        }
        tell_end(client, &status, program).await;
        Ok(Exit::of_flow(&status))
    }

    /// A second Ctrl-C, soon after the first, asks whether to cancel; anything else leaves.
    async fn offer_cancel(
        &mut self,
        client: &mut Client,
        flow: FlowId,
        program: &mut Program,
    ) -> Result<(), Failure> {
        program.console.narrate("press Ctrl-C again to cancel it");
        select! {
            () = sleep(SECOND_CTRL_C) => return Ok(()),
            _ = self.interrupts.recv() => {}
        }
        program.console.narrate_text(&format!("cancel flow {flow}? [y/N] "));
        let (answer, answered) = oneshot::channel();
        // Reading a line cannot be given up, so it has a thread that ends with the process.
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = io::stdin().read_line(&mut line);
            let _ = answer.send(line);
        });
        let line = select! {
            line = answered => line.unwrap_or_default(),
            _ = self.interrupts.recv() => String::new(),
        };
        if matches!(line.trim(), "y" | "Y" | "yes") {
            let (flow, state) = client.cancel(Some(flow), false).await?;
            program.console.narrate(format_args!("{flow} {state}"));
        } else {
            program.console.narrate("not cancelled");
        }
        Ok(())
    }
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// A flow that is followed, and what was told of it.
struct Following {
    id: Option<FlowId>,
    /// Everything up to here was told; `None`: from now on.
    cursor: Option<v1::Cursor>,
    told: Told,
    progress: Progress,
    backoff: Backoff,
    jsonl: bool,
}

enum Followed {
    End(Box<FlowStatus>),
    /// Why.
    Lost(String),
}

impl Following {
    fn new(id: Option<FlowId>, from: From, jsonl: bool) -> Self {
        let is_all = jsonl || from == From::Beginning;
        Self {
            id,
            // Of no store: of nothing was told yet.
            cursor: is_all.then(v1::Cursor::default),
            told: Told::default(),
            progress: Progress::default(),
            backoff: Backoff::new(),
            jsonl,
        }
    }

    /// Follows the flow over as many connections as it takes.
    async fn until_end(
        &mut self,
        client: &mut Client,
        program: &mut Program,
    ) -> Result<Box<FlowStatus>, Failure> {
        loop {
            let why = match self.follow(client, program).await? {
                Followed::End(status) => return Ok(status),
                Followed::Lost(why) => why,
            };
            program.console.narrate(format_args!("{why}; trying again"));
            self.backoff.pause(None).await;
            client.reconnect(None).await?;
        }
    }

    /// Follows one stream to the flow's end or its own.
    async fn follow(
        &mut self,
        client: &mut Client,
        program: &mut Program,
    ) -> Result<Followed, Failure> {
        let what = match self.id {
            Some(id) => format!("waiting for flow {id}"),
            None => "waiting for flow last".to_owned(),
        };
        let lost = |status: tonic::Status| {
            let failure = failure(&what, &status);
            if is_lost(&status) { Ok(Followed::Lost(failure.to_string())) } else { Err(failure) }
        };
        let mut stream = match client.watch(self.id, self.cursor.clone(), self.jsonl).await {
            Ok(stream) => stream,
            Err(status) => return lost(*status),
        };
        // A conductor of the first release has none, and tells nothing anew.
        let mut has_cursors = true;
        loop {
            let event = match stream.message().await {
                Ok(Some(event)) => event,
                Ok(None) => {
                    return Ok(Followed::Lost(format!("{what}: the conductor ended the stream")));
                }
                Err(status) => return lost(status),
            };
            self.backoff = Backoff::new();
            let cursor = event.cursor.clone();
            let heard: Watched = event.try_into().map_err(|error: orchestra_proto::Invalid| {
                Failure::broken(&*what).because(error)
            })?;
            if let Watched::Status(_) = &heard {
                has_cursors = cursor.is_some();
            }
            let is_anew = has_cursors && cursor.is_none();
            self.cursor = cursor.or(self.cursor.take());
            if let Watched::Event(event) = &heard {
                self.id = Some(event.flow());
                if !self.told.takes(event, is_anew) {
                    continue;
                }
            }
            if let Some(end) = self.tell(heard, client, program).await? {
                return Ok(Followed::End(end));
            }
        }
    }

    /// Tells what was heard. The final status, if it is that.
    async fn tell(
        &mut self,
        heard: Watched,
        client: &mut Client,
        program: &mut Program,
    ) -> Result<Option<Box<FlowStatus>>, Failure> {
        if let Watched::Status(status) = &heard {
            self.id = Some(status.summary.id);
        }
        let style = program.console.narration;
        for line in self.progress.lines(&heard, style) {
            program.console.narrate(line);
        }
        if self.jsonl {
            tell_json(&heard, program)?;
        }
        if let Watched::Status(status) = heard {
            return Ok(Some(status).filter(|status| status.summary.state.is_final()));
        }
        // The event says that it stopped; why is in the status. Without an answer the stream is lost
        // too, or the next status tells.
        if self.progress.asks_why()
            && let Ok(status) = client.flow(self.id).await
        {
            for line in self.progress.why(&status, style) {
                program.console.narrate(line);
            }
            if self.jsonl {
                tell_json(&Watched::Status(Box::new(status)), program)?;
            }
        }
        Ok(None)
    }
}

/// A line of JSON, at once.
fn tell_json(heard: &Watched, program: &mut Program) -> Result<(), Failure> {
    let line = json_line(heard).map_err(|error| unwritten(error.into()))?;
    program.console.answer_in_json();
    writeln!(program.console.out, "{line}").map_err(unwritten)?;
    program.console.out.finish()
}

/// The verdict, and what did not end ok, folded.
async fn tell_end(client: &mut Client, flow: &FlowStatus, program: &mut Program) {
    let console = &program.console;
    let style = console.narration;
    let summary = &flow.summary;
    let took = summary.ended_at.map(|at| elapsed(at.since(summary.submitted_at)));
    let after = took.map_or_else(String::new, |took| format!(" after {took}"));
    console.narrate(format_args!("{} {}{after}", named(summary), style.flow(summary.state)));
    if !flow.slots.iter().flatten().any(has_not_ok) {
        return;
    }
    let filter = TaskFilter { states: NOT_OK.to_vec(), ..TaskFilter::default() };
    match failures(client, summary.id, &filter).await {
        Ok(failures) => {
            let mut text = Vec::new();
            // Into memory, which takes everything.
            let _ = failures.write(&mut text, style);
            console.narrate_text(&String::from_utf8_lossy(&text));
        }
        // The verdict stands whether or not the list came.
        Err(failure) => console.narrate_text(&failure.render()),
    }
}

fn tell_detached(id: Option<FlowId>, how: &str, program: &Program) {
    match id {
        Some(id) => program
            .console
            .narrate(format_args!("flow {id} {how}; to wait for it again: orc wait {id}")),
        None => program.console.narrate("not waiting any longer"),
    }
}
