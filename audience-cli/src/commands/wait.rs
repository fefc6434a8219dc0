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
//! A connection that is lost is no verdict: what changed meanwhile is in the status that begins
//! the next stream.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use orchestra_model::{ids::FlowId, status::FlowStatus};
use orchestra_proto::Watched;
use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};

use super::{Program, status::failures};
use crate::{
    args::{WaitArgs, Waiting},
    client::{Backoff, Client, TaskFilter, failure, is_lost},
    console::unwritten,
    error::Failure,
    exit::Exit,
    view::{
        elapsed,
        flow::{has_not_ok, named},
        json,
        progress::{Progress, json_line},
        task::NOT_OK,
    },
};

/// How long after the first Ctrl-C a second one asks about cancelling.
const SECOND_CTRL_C: Duration = Duration::from_secs(3);

/// `orc wait`: flow after flow, under one timeout.
pub(crate) fn wait(args: &WaitArgs, program: &mut Program) -> Result<Exit, Failure> {
    let flows = args.flows()?;
    if args.shared.json && flows.len() > 1 {
        return Err(Failure::usage("waiting for several flows with --json")
            .hint("--jsonl tells of several; or getstatus --json afterwards"));
    }
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let mut client = Client::connect(connection).await?;
        let mut watcher = Watcher::new(&args.waiting, program)?;
        let mut worst = Exit::Ok;
        for flow in flows {
            let target = flow.map_or(Target::Last, Target::Flow);
            let exit = watcher.watch(&mut client, target, program).await?;
            worst = worst.worse(exit);
            if matches!(exit, Exit::WaitTimeout | Exit::NotOver) {
                return Ok(exit);
            }
        }
        Ok(worst)
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
    interrupts: Signal,
}

/// Why the waiting is over.
enum Over {
    Ended(Box<FlowStatus>),
    TimedOut,
    Interrupted,
}

impl Watcher {
    /// The timeout begins now, and Ctrl-C no longer ends the program.
    pub(super) fn new(waiting: &Waiting, program: &Program) -> Result<Self, Failure> {
        let interrupts = signal(SignalKind::interrupt())
            .map_err(|error| Failure::broken("listening for Ctrl-C").because(error))?;
        Ok(Self {
            deadline: waiting.wait_timeout.map(|timeout| Instant::now() + timeout.to_std()),
            jsonl: waiting.jsonl,
            json: program.shared.json,
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
        let mut id = match target {
            Target::Flow(id) => Some(id),
            Target::Last => None,
        };
        let over = select! {
            ended = until_end(client, &mut id, self.jsonl, program) => Over::Ended(ended?),
            () = reached(self.deadline) => Over::TimedOut,
            _ = self.interrupts.recv() => Over::Interrupted,
        };
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
        program.console.narrate_bytes(format!("cancel flow {flow}? [y/N] ").as_bytes());
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

/// Follows the flow over as many connections as it takes.
async fn until_end(
    client: &mut Client,
    id: &mut Option<FlowId>,
    jsonl: bool,
    program: &mut Program,
) -> Result<Box<FlowStatus>, Failure> {
    let mut progress = Progress::default();
    let mut backoff = Backoff::new();
    loop {
        let why = match follow(client, id, &mut progress, &mut backoff, jsonl, program).await? {
            Followed::End(status) => return Ok(status),
            Followed::Lost(why) => why,
        };
        program.console.narrate(format_args!("{why}; trying again"));
        backoff.pause(None).await;
        client.reconnect(None).await?;
    }
}

enum Followed {
    End(Box<FlowStatus>),
    /// Why.
    Lost(String),
}

/// Follows one stream to the flow's end or its own.
async fn follow(
    client: &mut Client,
    id: &mut Option<FlowId>,
    progress: &mut Progress,
    backoff: &mut Backoff,
    jsonl: bool,
    program: &mut Program,
) -> Result<Followed, Failure> {
    let what = match id {
        Some(id) => format!("waiting for flow {id}"),
        None => "waiting for flow last".to_owned(),
    };
    let lost = |status: tonic::Status| {
        let failure = failure(&what, &status);
        if is_lost(&status) { Ok(Followed::Lost(failure.to_string())) } else { Err(failure) }
    };
    let mut stream = match client.watch(*id).await {
        Ok(stream) => stream,
        Err(status) => return lost(*status),
    };
    loop {
        let heard: Watched = match stream.message().await {
            Ok(Some(event)) => event.try_into().map_err(|error: orchestra_proto::Invalid| {
                Failure::broken(&*what).because(error)
            })?,
            Ok(None) => {
                return Ok(Followed::Lost(format!("{what}: the conductor ended the stream")));
            }
            Err(status) => return lost(status),
        };
        *backoff = Backoff::new();
        if let Watched::Status(status) = &heard {
            *id = Some(status.summary.id);
        }
        let style = program.console.narration;
        for line in progress.lines(&heard, style) {
            program.console.narrate(line);
        }
        if jsonl {
            tell_json(&heard, program)?;
        }
        if let Watched::Status(status) = heard {
            if status.summary.state.is_final() {
                return Ok(Followed::End(status));
            }
        } else if progress.asks_why() {
            // The event says that it stopped; why is in the status. Without an answer the stream
            // is lost too, or the next status tells.
            if let Ok(status) = client.flow(*id).await {
                for line in progress.why(&status, style) {
                    program.console.narrate(line);
                }
                if jsonl {
                    tell_json(&Watched::Status(Box::new(status)), program)?;
                }
            }
        }
    }
}

/// A line of JSON, at once.
fn tell_json(heard: &Watched, program: &mut Program) -> Result<(), Failure> {
    let line = json_line(heard).map_err(|error| unwritten(error.into()))?;
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
            console.narrate_bytes(&text);
        }
        // The verdict stands whether or not the list came.
        Err(failure) => console.narrate_bytes(failure.render().as_bytes()),
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
