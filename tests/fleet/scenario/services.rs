//! Services over all players: from apply until each unit is told to be ready and each flow has ended,
//! with every result on disk; and beside it, as many tasks of jobs in the same run.

use std::time::Instant;

use tokio::task::JoinSet;

use crate::{
    args::Args,
    audience::{Audience, Submitted, Wanted},
    figures::{Report, Samples},
    scenario::checked,
    stage::{PATIENCE, Stage},
    trouble::{During as _, Result, Trouble},
};

/// Services that are applied at once, and jobs beside them.
const SERVICES: usize = 10;
/// As many as there are jobs on a player at once.
const MAX_TASKS: u32 = 32;

pub(super) async fn run(args: &Args) -> Result<Report> {
    let mut stage = Stage::set(args, "services", args.players).await?;
    let crowd = stage.crowd(MAX_TASKS, args.delay).await?;
    let audience = stage.audience().await?;
    let all = SERVICES * args.players;
    let (mut flows, mut ready, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
    // One more before those that count.
    for round in 0..=args.rounds() {
        let acknowledged = &crowd.common.acknowledged;
        let before = acknowledged.count();
        let begin = Instant::now();
        let jobs = submit_jobs(&audience, &stage.targets, args.players).await?;
        acknowledged.reach(before + all as u64, PATIENCE, "ends of jobs").await?;
        let of_jobs = begin.elapsed();

        let before = acknowledged.count();
        let begin = Instant::now();
        let applied = apply(&audience, &stage.targets, args.players, round).await?;
        acknowledged.reach(before + all as u64, PATIENCE, "ends of units' tasks").await?;
        let of_units = begin.elapsed();
        check_ready(&audience, round, args.players).await?;
        flows.extend(jobs);
        flows.extend(applied);
        if round > 0 {
            ready.push(of_units.as_secs_f64());
            tasks.push(of_jobs.as_secs_f64());
        }
    }
    let mut report = Report::new("services", args.players);
    let (ready, tasks) = (Samples::new(ready), Samples::new(tasks));
    report.number("units", "units applied at once", all as f64);
    report.rounds("ready_s", "apply to all ready, s", &ready);
    report.rounds("tasks_s", "as many tasks of jobs, s", &tasks);
    let traces = crowd.take_traces()?;
    checked(&mut report, stage.check_traces(crowd, &flows, &traces).await?);
    Ok(report)
}

/// Submits as many flows as there are services, each a job on every player.
async fn submit_jobs(audience: &Audience, targets: &str, players: usize) -> Result<Vec<Submitted>> {
    let mut submissions = JoinSet::new();
    for _ in 0..SERVICES {
        let (mut audience, wanted) = (audience.clone(), Wanted::on(targets, players));
        submissions.spawn(async move { audience.submit(&wanted).await });
    }
    all(submissions).await
}

/// Applies services that are new.
async fn apply(
    audience: &Audience,
    targets: &str,
    players: usize,
    round: usize,
) -> Result<Vec<Submitted>> {
    let mut applications = JoinSet::new();
    for number in 0..SERVICES {
        let (mut audience, name) = (audience.clone(), name(round, number));
        let targets = targets.to_owned();
        applications.spawn(async move { audience.apply(&name, &targets, players).await });
    }
    all(applications).await
}

fn name(round: usize, number: usize) -> String {
    format!("s{round}-{number}")
}

async fn all(mut work: JoinSet<Result<Submitted>>) -> Result<Vec<Submitted>> {
    let mut flows = Vec::new();
    while let Some(done) = work.join_next().await {
        flows.push(done.during("asking the conductor")??);
    }
    Ok(flows)
}

/// Fails where the conductor does not tell that all units are ready.
async fn check_ready(audience: &Audience, round: usize, players: usize) -> Result<()> {
    for number in 0..SERVICES {
        let name = name(round, number);
        let ready = audience.clone().ready(&name).await?;
        if ready != players {
            return Err(Trouble::new(format!("{name} is ready on {ready} of {players} players")));
        }
    }
    Ok(())
}
