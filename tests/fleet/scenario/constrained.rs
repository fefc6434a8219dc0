//! The work of `throughput`, with a score that changes something: where every host is in ten
//! cells, beside a fleet of the same shape without any. What differs is what it costs to take and
//! to leave ten cells with each task.
//!
//! The limits leave most hosts free, so that they are not what bounds the rate. Afterwards some
//! longer tasks fill the cells, and what the players really ran tells that none was exceeded.

use std::time::Duration;

use crate::{
    args::Args,
    audience::{CHANGES, Submitted, Wanted},
    cells::{CELLS, Cells},
    delay::Delay,
    figures::{Report, Samples},
    scenario::{
        checked, latencies,
        throughput::{Ran, keep_busy},
    },
    sitter::Trace,
    stage::{PATIENCE, Stage},
    trouble::{Result, Trouble},
    usage::resident_kib,
};

/// What part of a cell's hosts may be busy at once.
const LIMIT_PERCENT: u8 = 90;
/// How fast orders reach players at least, a second: what fills cells lasts as long.
const SLOWEST: f64 = 10_000.0;
/// Flows that fill the cells.
const FILLING: usize = 2;

pub(super) async fn run(args: &Args) -> Result<Report> {
    let free = round(args, None).await?;
    let cells = Cells::new(args.players, LIMIT_PERCENT);
    let bound = round(args, Some(cells)).await?;
    let fullest = cells.fullest(&bound.traces)?;
    let filled = cells.fullest(&bound.filling)?;
    if filled < 1.0 {
        let percent = 100.0 * filled;
        return Err(Trouble::new(format!(
            "the fullest cell was {percent:.0} % full, so it is not known whether limits hold"
        )));
    }

    let mut report = Report::new("constrained", args.players);
    report.number("ratio", "ratio to the same without cells", bound.rate() / free.rate());
    report.number("tasks_a_second", "tasks a second, over all", bound.rate());
    report.number("free_tasks_a_second", "the same without cells", free.rate());
    let each_second = |round: &Round| Samples::new(round.ran.each_second.iter().copied());
    report.rounds("each_second", "tasks in each second", &each_second(&bound));
    report.rounds("free_each_second", "the same without cells", &each_second(&free));
    report.number("conductor_us_a_task", "conductor CPU a task, µs", bound.cpu());
    report.number("free_conductor_us_a_task", "the same without cells", free.cpu());
    report.number("rss_mib", "conductor resident, MiB", bound.rss_mib);
    report.number("free_rss_mib", "the same without cells", free.rss_mib);
    latencies(&mut report, &bound.ran.flows, &bound.traces);
    report.number("cells", "cells of each host", CELLS as f64);
    report.number("limit_percent", "hosts of a cell that may be busy, %", LIMIT_PERCENT.into());
    report.number("fullest_percent", "the fullest cell, % of its limit", 100.0 * fullest);
    report.number("filled_percent", "the same when cells were filled", 100.0 * filled);
    bound.ran.spent.tell(&mut report);
    checked(&mut report, free.checked + bound.checked);
    Ok(report)
}

/// What one fleet did.
struct Round {
    ran: Ran,
    /// What was executed while it was measured, and when cells were filled.
    traces: Vec<Vec<Trace>>,
    filling: Vec<Vec<Trace>>,
    rss_mib: f64,
    checked: usize,
}

impl Round {
    fn rate(&self) -> f64 {
        self.ran.rate()
    }

    /// Microseconds a task.
    fn cpu(&self) -> f64 {
        self.ran.cpu()
    }
}

/// A fleet of its own.
async fn round(args: &Args, cells: Option<Cells>) -> Result<Round> {
    let name = if cells.is_some() { "constrained" } else { "unconstrained" };
    let mut stage = Stage::empty(args, name, args.players)?;
    if let Some(cells) = cells {
        stage.constrain(cells)?;
    }
    stage.restart()?;
    stage.identify()?;
    let mut crowd = stage.crowd(args.max_tasks, args.delay).await?;
    let mut audience = stage.audience().await?;
    let wanted = Wanted { score: CHANGES, ..Wanted::on(&stage.targets, args.players) };
    let ran = keep_busy(args, stage.pid(), &mut crowd, &audience, &wanted).await?;
    let rss_mib = stage.pid().map(resident_kib).transpose()?.unwrap_or(0.0) / 1024.0;
    let traces = crowd.take_traces()?;

    let length =
        Duration::from_millis(50).max(Duration::from_secs_f64(args.players as f64 / SLOWEST));
    crowd.set_delay(Delay::Between(length, 2 * length));
    let mut filling = Vec::new();
    for _ in 0..FILLING {
        filling.push(audience.submit(&wanted).await?);
    }
    let all = ran.flows.iter().chain(&filling);
    let tasks: usize = all.clone().map(Submitted::tasks).sum();
    crowd.common.acknowledged.reach(tasks as u64, PATIENCE, "ends on disk").await?;
    let flows: Vec<_> = all.copied().collect();
    let filling = crowd.take_traces()?;

    let everything = traces.iter().zip(&filling).map(|(a, b)| [&a[..], &b[..]].concat());
    let everything: Vec<Vec<Trace>> = everything.collect();
    let checked = stage.check_traces(crowd, &flows, &everything).await?;
    Ok(Round { ran, traces, filling, rss_mib, checked })
}
