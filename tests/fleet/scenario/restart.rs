//! A conductor is started over a store with many living flows: how long until it serves.
//!
//! The store is written beforehand, by [`Past`], and copied for every round, so that each of them
//! begins with the same. What was in it is what is told, after this restart and after another
//! one. Where this process may have so many connections, the players then come, and all flows go on to
//! their ends: what had ended is not executed again, everything else once.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use orchestra_model::{names::ScoreName, record::Impact};

use crate::{
    args::Args,
    audience::{Audience, CHANGES, LOOKS, Submitted},
    cells::{CELLS, Cells},
    crowd::{Crowd, Manner},
    delay::Delay,
    descriptors,
    figures::{Report, Samples},
    past::Past,
    scenario::checked,
    sitter::Memory,
    stage::{PATIENCE, Stage},
    trouble::{During as _, Result, Trouble},
    usage::{Spent, Usage, peak_kib, resident_kib},
};

/// What part of a cell's hosts may be busy at once, with `--constrained`.
const LIMIT_PERCENT: u8 = 50;
/// Of the spools of this scenario's players.
const RUN: u64 = 1;
/// More than any player has in flight.
const MAX_TASKS: u32 = 128;

pub(super) async fn run(args: &Args) -> Result<Report> {
    let mut stage = Stage::empty(args, "restart", args.players)?;
    let (hosts, targets) = (stage.hosts.clone(), stage.targets.clone());
    let (score, impact) = match args.constrained {
        true => (CHANGES, Impact::Holds),
        false => (LOOKS, Impact::Look),
    };
    let score = ScoreName::new(score).during("naming a score")?;
    let (flows, run) = (args.flows(), RUN);
    let past = Past { flows, hosts: &hosts, targets: &targets, score, impact, run };
    let made = stage.own_conductor()?.0.dir().join("made");
    if args.constrained {
        stage.constrain(Cells::new(args.players, LIMIT_PERCENT))?;
    }
    let memories = past.write(&made)?;

    let mut rounds = Vec::new();
    for _ in 0..args.rounds() {
        stage.own_conductor()?.0.restore(&made)?;
        rounds.push(round(&mut stage, &past).await?);
        compare(&past, &mut stage.audience().await?).await?;
    }
    let mut report = Report::new("restart", args.players);
    tell(&mut report, args, &past, &stage, &rounds);
    stage.restart()?;
    compare(&past, &mut stage.audience().await?).await?;
    if descriptors::raise_for(args.players).is_ok() {
        checked(&mut report, finish(&mut stage, &past, &memories).await?);
    }
    Ok(report)
}

/// What one start took, all from the moment that the process was made.
struct Round {
    /// Until its address was written, in seconds.
    ready: f64,
    /// Until its status and that of a flow were told, in seconds.
    served: f64,
    /// What the conductor says of itself, in milliseconds, by name.
    parts: Vec<f64>,
    rss_mib: f64,
    peak_mib: f64,
    spent: Spent,
}

/// What the conductor says of its start, and what that is.
const PARTS: [(&str, &str); 3] = [
    ("files_ms", "reading configuration and fleet, ms"),
    ("recovery_ms", "reading the store, ms"),
    ("fleet_ms", "putting the fleet in force, ms"),
];

async fn round(stage: &mut Stage<'_>, past: &Past<'_>) -> Result<Round> {
    let usage = Usage::now(None)?;
    let begin = Instant::now();
    stage.restart()?;
    let ready = begin.elapsed().as_secs_f64();
    let mut audience = stage.audience().await?;
    let alive = audience.flows_alive().await?;
    if let Some(last) = past.ids().last() {
        audience.flow(last).await?;
    }
    let served = begin.elapsed().as_secs_f64();
    if alive as usize != past.flows {
        return Err(Trouble::new(format!("{alive} of {} flows are alive", past.flows)));
    }
    let spent = usage.since(stage.pid())?;
    let pid = stage.pid().ok_or_else(|| Trouble::new("the conductor does not run"))?;
    let (rss_mib, peak_mib) = (resident_kib(pid)? / 1024.0, peak_kib(pid)? / 1024.0);
    let said = stage.own_conductor()?.0.logged("conductor started").unwrap_or_default();
    let part = |name: &str| {
        let words = said.split_whitespace();
        let value = words.filter_map(|word| word.split_once('=')).find(|(key, _)| *key == name);
        value.and_then(|(_, value)| value.parse().ok()).unwrap_or(0.0)
    };
    let parts = PARTS.iter().map(|(name, _)| part(name)).collect();
    Ok(Round { ready, served, parts, rss_mib, peak_mib, spent })
}

fn tell(report: &mut Report, args: &Args, past: &Past<'_>, stage: &Stage<'_>, rounds: &[Round]) {
    let of = |figure: &dyn Fn(&Round) -> f64| Samples::new(rounds.iter().map(figure));
    report.number("flows", "living flows", past.flows as f64);
    report.number("tasks", "their tasks", past.tasks() as f64);
    report.number("sent", "of these, sent", (past.flows * past.sent()) as f64);
    let cells = if args.constrained { CELLS } else { 0 };
    report.number("cells", "cells of each host", cells as f64);
    report.number(
        "store_mib",
        "store on disk, MiB",
        stage.store_bytes() as f64 / f64::from(1 << 20),
    );
    report.rounds("ready_s", "start until its address is written, s", &of(&|round| round.ready));
    report.rounds("served_s", "start until it answers, s", &of(&|round| round.served));
    for (place, (name, what)) in PARTS.iter().enumerate() {
        report.rounds(name, what, &of(&|round| round.parts[place]));
    }
    report.rounds("cpu_s", "conductor CPU until then, s", &of(&|round| round.spent.conductor()));
    report.rounds("rss_mib", "conductor resident then, MiB", &of(&|round| round.rss_mib));
    report.rounds("peak_mib", "the most that it was, MiB", &of(&|round| round.peak_mib));
    if let Some(last) = rounds.last() {
        last.spent.tell(report);
    }
}

/// Checks that what is told is what is in the store.
async fn compare(past: &Past<'_>, audience: &mut Audience) -> Result<()> {
    let (ended, sent) = (past.ended(), past.sent());
    let parts = [("ok", ended), ("sent", sent), ("waiting", past.hosts.len() - ended - sent)];
    let expected: HashMap<String, usize> =
        parts.into_iter().filter(|(_, n)| *n > 0).map(|(state, n)| (state.to_owned(), n)).collect();
    for id in past.ids() {
        let (state, mut counts) = audience.flow(id).await?;
        counts.retain(|_, tasks| *tasks > 0);
        if state != "running" || counts != expected {
            return Err(Trouble::new(format!("flow {id} is {state}, with {counts:?}")));
        }
    }
    Ok(())
}

/// Lets all flows go on to their ends, and checks what was executed for that.
async fn finish(stage: &mut Stage<'_>, past: &Past<'_>, memories: &[Memory]) -> Result<usize> {
    stage.identify()?;
    let manner = Manner { max_tasks: MAX_TASKS, delay: Delay::None, dialling: stage.args.dialling };
    let crowd = Crowd::start_again(&stage.identities, stage.address(), manner, past.run, memories)?;
    let left = past.flows * (past.hosts.len() - past.ended());
    let limit = PATIENCE + Duration::from_millis(left as u64);
    crowd.common.acknowledged.reach(left as u64, limit, "ends on disk").await?;
    let mut audience = stage.audience().await?;
    let flows =
        past.ids().map(|id| Submitted { id, at: Instant::now(), jobs: 1, hosts: past.hosts.len() });
    let flows: Vec<Submitted> = flows.collect();
    for flow in &flows {
        audience.ended(flow, PATIENCE).await?;
    }
    let traces = crowd.take_traces()?;
    crowd.stop().await?;
    stage.restart()?;
    let mut audience = stage.audience().await?;
    for flow in &flows {
        audience.check_told(flow).await?;
    }
    for (place, traces) in traces.iter().enumerate() {
        let executed: Vec<_> = traces.iter().map(|trace| trace.job).collect();
        if let Some(complaint) = past.complaint(place, &executed) {
            return Err(Trouble::new(complaint));
        }
    }
    Ok(past.tasks())
}
