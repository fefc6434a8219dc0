//! Many short tasks, for a minute: some flows over all players are under way at any time.

use std::{sync::Arc, time::Instant};

use tokio::{
    task::JoinSet,
    time::{Duration, MissedTickBehavior, interval},
};

use crate::{
    args::Args,
    audience::{Audience, Submitted, Wanted},
    crowd::Crowd,
    figures::{Report, Samples},
    peers,
    scenario::{checked, latencies},
    stage::{PATIENCE, Stage},
    trouble::{During as _, Result},
    usage::resident_kib,
};

pub(super) async fn run(args: &Args) -> Result<Report> {
    let mut stage = Stage::set(args, "throughput", args.players).await?;
    let mut crowd = stage.crowd(args.max_tasks, args.delay).await?;
    let audience = stage.audience().await?;
    let wanted = Wanted::on(&stage.targets, args.players);
    let store = stage.store_bytes();
    let usage = stage.usage()?;
    let Ran { flows, each_second, seconds } =
        keep_busy(args, &mut crowd, &audience, &wanted).await?;
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
    if args.peers {
        peers::no_ops(args, stage.dir(), tasks / seconds, &mut report).await?;
    }
    Ok(report)
}

pub(super) struct Ran {
    pub(super) flows: Vec<Submitted>,
    /// Tasks that became durable in each whole second.
    pub(super) each_second: Vec<f64>,
    /// From the first submission to the last end on disk.
    pub(super) seconds: f64,
}

impl Ran {
    pub(super) fn tasks(&self) -> f64 {
        self.flows.iter().map(Submitted::tasks).sum::<usize>() as f64
    }
}

/// Submits the next flow whenever all tasks of one have ended, until time is up; then waits until
/// every end is on disk.
pub(super) async fn keep_busy(
    args: &Args,
    crowd: &mut Crowd,
    audience: &Audience,
    wanted: &Wanted,
) -> Result<Ran> {
    const WHAT: &str = "submitting a flow";
    let tasks = wanted.hosts * wanted.jobs;
    let common = Arc::clone(&crowd.common);
    let complete = crowd.tell_complete(u32::try_from(tasks).unwrap_or(u32::MAX));
    let begin = Instant::now();
    let until = begin + args.time();
    let (mut flows, mut each_second) = (Vec::new(), Vec::new());
    let (mut begun, mut ended) = (0, 0);
    // Nobody who submits waits for somebody else's answer.
    let mut submissions = JoinSet::new();
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    second.tick().await;
    let mut counted = (common.acknowledged.count(), begin);
    while Instant::now() < until {
        // One may have ended before its submission is answered.
        if begun < ended + args.in_flight.max(1) {
            begun += 1;
            let (mut audience, wanted) = (audience.clone(), wanted.clone());
            submissions.spawn(async move { audience.submit(&wanted).await });
            continue;
        }
        tokio::select! {
            Some(_) = complete.recv() => ended += 1,
            Some(submitted) = submissions.join_next() => flows.push(submitted.during(WHAT)??),
            at = second.tick() => {
                let (now, at) = (common.acknowledged.count(), at.into_std());
                let time = (at - counted.1).as_secs_f64();
                each_second.push((now - counted.0) as f64 / time.max(1e-9));
                counted = (now, at);
            }
        }
    }
    while let Some(submitted) = submissions.join_next().await {
        flows.push(submitted.during(WHAT)??);
    }
    let all = (flows.len() * tasks) as u64;
    let last = common.acknowledged.reach(all, PATIENCE, "ends on disk").await?;
    Ok(Ran { flows, each_second, seconds: (last - begin).as_secs_f64() })
}
