//! Many wait for one large flow, which is then cancelled: how long a stranger waits for an answer
//! meanwhile, and what it costs until all of them know what was not ok.
//!
//! Beside it nobody waits, and beside that everybody asks for each task, as tools did before the conductor
//! folded what they show. The flow's hosts were never attached: what is measured is telling.

use std::time::Instant;

use tokio::task::JoinSet;

use crate::{
    args::Args,
    audience::{Audience, Submitted, Wanted},
    figures::{Report, Samples},
    scenario::checked,
    stage::Stage,
    trouble::{During as _, Result, Trouble},
    usage::{Spent, Usage, peak_kib},
};

/// What those who waited ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Folded,
    EachTask,
}

/// What one flow with its waiters came to.
struct Wait {
    /// The longest that a stranger waited for the status of another flow, in milliseconds.
    stranger_ms: f64,
    /// From the cancel until everybody knew everything, in seconds.
    told_s: f64,
    spent: Spent,
    peak_mib: f64,
    flow: Submitted,
}

pub(super) async fn run(args: &Args) -> Result<Report> {
    let tasks = args.flow_tasks();
    let mut stage = Stage::empty(args, "waiters", tasks)?;
    stage.restart()?;
    let mut flows = Vec::new();
    let mut rounds: [Vec<Wait>; 3] = Default::default();
    for _ in 0..args.rounds() {
        let kinds =
            [(0, Asks::Folded), (args.waiters(), Asks::Folded), (args.waiters(), Asks::EachTask)];
        for (waits, (waiters, asks)) in rounds.iter_mut().zip(kinds) {
            // The most memory is told of a process's whole life.
            stage.restart()?;
            let wait = wait(&stage, tasks, waiters, asks).await?;
            flows.push(wait.flow);
            waits.push(wait);
        }
    }
    let mut report = Report::new("waiters", tasks);
    report.number("waiters", "who wait for one flow", args.waiters() as f64);
    for (waits, (name, what)) in rounds.iter().zip([
        ("nobody", "nobody waits"),
        ("folded", "they ask for what was not ok, folded"),
        ("each", "they ask for each task"),
    ]) {
        let of = |figure: &dyn Fn(&Wait) -> f64| Samples::new(waits.iter().map(figure));
        let mut tell = |ending: &str, of_what: &str, samples: &Samples| {
            report.rounds(&format!("{name}_{ending}"), &format!("{what}: {of_what}"), samples);
        };
        tell("stranger_ms", "a stranger's status, ms", &of(&|wait| wait.stranger_ms));
        tell("told_s", "until all know, s", &of(&|wait| wait.told_s));
        tell("cpu_s", "conductor CPU, s", &of(&|wait| wait.spent.conductor()));
        tell("peak_mib", "the most memory, MiB", &of(&|wait| wait.peak_mib));
    }
    if let Some(last) = rounds[1].last() {
        last.spent.tell(&mut report);
    }
    stage.restart()?;
    let mut audience = stage.audience().await?;
    for flow in &flows {
        let (state, counts) = audience.flow(flow.id).await?;
        if state != "cancelled" || counts.get("cancelled") != Some(&tasks) {
            return Err(Trouble::new(format!("flow {} is {state}, with {counts:?}", flow.id)));
        }
    }
    checked(&mut report, flows.iter().map(Submitted::tasks).sum());
    Ok(report)
}

async fn wait(stage: &Stage<'_>, tasks: usize, waiters: usize, asks: Asks) -> Result<Wait> {
    let mut stranger = stage.audience().await?;
    let other = stranger.submit(&Wanted::on("p1", 1)).await?;
    let flow = stranger.submit(&Wanted::on(&stage.targets, tasks)).await?;
    let mut waiting = JoinSet::new();
    for _ in 0..waiters {
        let mut waiter = stage.audience().await?;
        let events = waiter.begin_watch(flow.id).await?;
        waiting.spawn(async move {
            Audience::read_to_end(events).await?;
            match asks {
                Asks::Folded => waiter.failures(flow.id).await,
                Asks::EachTask => waiter.not_ok(flow.id).await,
            }
        });
    }
    let usage = Usage::now(stage.pid())?;
    let begin = Instant::now();
    let mut operator = stage.audience().await?;
    let cancelled = tokio::spawn(async move { operator.cancel(flow.id).await });
    let (mut told_s, mut stranger_ms) = (0.0, 0.0_f64);
    let mut is_cancelled = false;
    // Once more after the last is told, so that there is a figure where nobody waits.
    while !is_cancelled || !waiting.is_empty() {
        is_cancelled = cancelled.is_finished();
        while let Some(told) = waiting.try_join_next() {
            let told = told.during("waiting for a flow")??;
            if told != tasks {
                return Err(Trouble::new(format!("{told} of {tasks} tasks were told")));
            }
            told_s = begin.elapsed().as_secs_f64();
        }
        let asked = Instant::now();
        stranger.flow(other.id).await?;
        stranger_ms = stranger_ms.max(1e3 * asked.elapsed().as_secs_f64());
    }
    cancelled.await.during("cancelling a flow")??;
    let spent = usage.since(stage.pid())?;
    let peak_mib = stage.pid().map_or(Ok(0.0), peak_kib)? / 1024.0;
    stranger.cancel(other.id).await?;
    Ok(Wait { stranger_ms, told_s, spent, peak_mib, flow })
}
