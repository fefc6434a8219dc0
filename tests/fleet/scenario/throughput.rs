//! Many short tasks, for a minute: some flows over all players are under way at any time.

use std::{collections::HashMap, time::Instant};

use orchestra_model::FlowId;
use tokio::time::{Duration, MissedTickBehavior, interval};

use crate::{
    args::Args,
    audience::{Audience, Submitted, Wanted},
    crowd::Crowd,
    figures::{Report, Samples},
    scenario::{checked, latencies},
    stage::{PATIENCE, Stage},
    trouble::{Result, Trouble},
    usage::resident_kib,
};

pub(super) async fn run(args: &Args) -> Result<Report> {
    let mut stage = Stage::set(args, "throughput", args.players).await?;
    let mut crowd = stage.crowd(args.max_tasks, args.delay).await?;
    let mut audience = stage.audience().await?;
    let wanted = Wanted::on(&stage.targets, args.players);
    let store = stage.store_bytes();
    let usage = stage.usage()?;
    let Ran { flows, each_second, seconds } =
        keep_busy(args, &mut crowd, &mut audience, &wanted).await?;
    let spent = usage.since(stage.pid())?;

    let tasks = flows.iter().map(Submitted::tasks).sum::<usize>() as f64;
    let mut report = Report::new("throughput", args.players);
    report.number("tasks_a_second", "tasks a second, over all", tasks / seconds);
    report.rounds("each_second", "tasks in each second", &Samples::new(each_second));
    report.number("tasks", "tasks", tasks);
    let each = 1e6 * spent.conductor() / tasks;
    report.number("conductor_us_a_task", "conductor CPU a task, µs", each);
    let traces = crowd.take_traces()?;
    latencies(&mut report, &flows, &traces);
    let grown = stage.store_bytes().saturating_sub(store) as f64;
    report.number("store_bytes_a_task", "store, bytes a task", grown / tasks);
    if let Some(pid) = stage.pid() {
        report.number("rss_mib", "conductor resident, MiB", resident_kib(pid)? / 1024.0);
    }
    spent.tell(&mut report);
    checked(&mut report, stage.check_traces(crowd, &flows, &traces).await?);
    Ok(report)
}

struct Ran {
    flows: Vec<Submitted>,
    /// Tasks that became durable in each whole second.
    each_second: Vec<f64>,
    /// From the first submission to the last end.
    seconds: f64,
}

/// Submits the next flow whenever one is complete, until time is up; then waits for the rest.
async fn keep_busy(
    args: &Args,
    crowd: &mut Crowd,
    audience: &mut Audience,
    wanted: &Wanted,
) -> Result<Ran> {
    let tasks = u32::try_from(wanted.hosts * wanted.jobs).unwrap_or(u32::MAX);
    let common = std::sync::Arc::clone(&crowd.common);
    let complete = crowd.tell_complete(tasks);
    let begin = Instant::now();
    let until = begin + args.time();
    let (mut flows, mut each_second) = (Vec::new(), Vec::new());
    // A flow may be complete before its submission is answered.
    let mut open: HashMap<FlowId, bool> = HashMap::new();
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    second.tick().await;
    let mut counted = (common.acknowledged.count(), begin);
    let mut last = begin;
    loop {
        let under_way = open.values().filter(|complete| !**complete).count();
        if under_way < args.in_flight.max(1) && Instant::now() < until {
            let flow = audience.submit(wanted).await?;
            open.entry(flow.id).or_insert(false);
            flows.push(flow);
            continue;
        }
        if under_way == 0 {
            let seconds = (last - begin).as_secs_f64();
            return Ok(Ran { flows, each_second, seconds });
        }
        tokio::select! {
            Some((flow, at)) = complete.recv() => {
                open.insert(flow, true);
                last = at;
            }
            at = second.tick() => {
                let (now, at) = (common.acknowledged.count(), at.into_std());
                if at <= until {
                    let time = (at - counted.1).as_secs_f64();
                    each_second.push((now - counted.0) as f64 / time.max(1e-9));
                }
                counted = (now, at);
                if at > until + PATIENCE {
                    return Err(Trouble::new(format!("{under_way} flows do not end")));
                }
            }
        }
    }
}
