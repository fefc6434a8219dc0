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
    scenario::{checked, latencies},
    stage::{PATIENCE, Stage},
    trouble::{During as _, Result},
    usage::{Spent, Usage, resident_kib},
};

pub(super) async fn run(args: &Args) -> Result<Report> {
    let mut stage = Stage::set(args, "throughput", args.players).await?;
    let mut crowd = stage.crowd(args.max_tasks, args.delay).await?;
    let audience = stage.audience().await?;
    let wanted = Wanted::on(&stage.targets, args.players);
    let store = stage.store_bytes();
    let ran = keep_busy(args, stage.pid(), &mut crowd, &audience, &wanted).await?;

    let (tasks, rate, cpu) = (ran.tasks(), ran.rate(), ran.cpu());
    let Ran { flows, each_second, spent, .. } = ran;
    let mut report = Report::new("throughput", args.players);
    report.number("tasks_a_second", "tasks a second, over all", rate);
    report.rounds("each_second", "tasks in each second", &Samples::new(each_second));
    report.number("tasks", "tasks", tasks);
    report.number("conductor_us_a_task", "conductor CPU a task, µs", cpu);
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

pub(super) struct Ran {
    pub(super) flows: Vec<Submitted>,
    /// Tasks that ended in each whole second.
    pub(super) each_second: Vec<f64>,
    /// Tasks that ended, from the first submission until time was up; and how long that was.
    ended: f64,
    seconds: f64,
    /// In that time.
    pub(super) spent: Spent,
}

impl Ran {
    pub(super) fn rate(&self) -> f64 {
        self.ended / self.seconds
    }

    /// Microseconds of the conductor's for each that ended.
    pub(super) fn cpu(&self) -> f64 {
        1e6 * self.spent.conductor() / self.ended.max(1.0)
    }

    pub(super) fn tasks(&self) -> f64 {
        self.flows.iter().map(Submitted::tasks).sum::<usize>() as f64
    }
}

/// Submits the next flow whenever all tasks of one have ended, until time is up; then waits until
/// every end is on disk.
pub(super) async fn keep_busy(
    args: &Args,
    conductor: Option<u32>,
    crowd: &mut Crowd,
    audience: &Audience,
    wanted: &Wanted,
) -> Result<Ran> {
    const WHAT: &str = "submitting a flow";
    let tasks = wanted.hosts * wanted.jobs;
    let common = Arc::clone(&crowd.common);
    let complete = crowd.tell_complete(u32::try_from(tasks).unwrap_or(u32::MAX));
    let usage = Usage::now(conductor)?;
    let begin = Instant::now();
    let until = begin + args.time();
    let (mut flows, mut each_second) = (Vec::new(), Vec::new());
    let (mut begun, mut ended) = (0, 0);
    // Nobody who submits waits for somebody else's answer.
    let mut submissions = JoinSet::new();
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    second.tick().await;
    let before = common.ended.count();
    let mut counted = (before, begin);
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
                let (now, at) = (common.ended.count(), at.into_std());
                let time = (at - counted.1).as_secs_f64();
                each_second.push((now - counted.0) as f64 / time.max(1e-9));
                counted = (now, at);
            }
        }
    }
    let (ended, seconds) = (common.ended.count() - before, begin.elapsed().as_secs_f64());
    let spent = usage.since(conductor)?;
    while let Some(submitted) = submissions.join_next().await {
        flows.push(submitted.during(WHAT)??);
    }
    let all = (flows.len() * tasks) as u64;
    common.acknowledged.reach(all, PATIENCE, "ends on disk").await?;
    Ok(Ran { flows, each_second, ended: ended as f64, seconds, spent })
}
