//! All players attach, to the conductor and to a bare server of the same run, by turns: how fast,
//! for how much CPU, and how much memory each takes while it stands.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::{
    args::Args,
    audience::Wanted,
    crowd::{Crowd, Manner},
    daemon::start_bare,
    delay::Delay,
    figures::{Report, Samples},
    scenario::checked,
    stage::{PATIENCE, Stage},
    trouble::{During as _, Result, Trouble},
    usage::{Spent, Usage, resident_kib},
};

/// What one attach of all cost.
pub(super) struct Round {
    /// Players a second.
    pub(super) rate: f64,
    /// Server CPU each, in microseconds.
    cpu: f64,
    /// Resident memory of the server each, in KiB.
    kib: f64,
    spent: Spent,
}

pub(super) async fn run(args: &Args) -> Result<Report> {
    let mut stage = Stage::set(args, "attach", args.players).await?;
    let (mut bare, mut real) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds() {
        bare.push(attach_bare(&stage).await?);

        // A process that has not held anybody yet.
        stage.restart()?;
        let pid = stage.pid().ok_or_else(|| Trouble::new("the conductor does not run"))?;
        let (round, crowd) = attach(&stage, pid, stage.address()).await?;
        real.push(round);
        crowd.stop().await?;
    }
    stage.restart()?;
    let crowd = stage.crowd(1, Delay::None).await?;
    let flow = stage.audience().await?.submit(&Wanted::on(&stage.targets, args.players)).await?;
    let tasks = args.players as u64;
    crowd.common.acknowledged.reach(tasks, PATIENCE, "ends on disk").await?;

    let mut report = Report::new("attach", args.players);
    let of = |rounds: &[Round], figure: fn(&Round) -> f64| Samples::new(rounds.iter().map(figure));
    report.rounds("rate", "attaches a second", &of(&real, |round| round.rate));
    report.rounds("bare_rate", "the same to a bare server", &of(&bare, |round| round.rate));
    let ratio = Samples::new(real.iter().zip(&bare).map(|(real, bare)| real.rate / bare.rate));
    report.rounds("ratio", "ratio", &ratio);
    report.rounds("cpu_us", "conductor CPU each, µs", &of(&real, |round| round.cpu));
    report.rounds("bare_cpu_us", "bare server CPU each, µs", &of(&bare, |round| round.cpu));
    report.rounds("kib", "conductor resident each, KiB", &of(&real, |round| round.kib));
    report.rounds("bare_kib", "bare server resident each, KiB", &of(&bare, |round| round.kib));
    let above = Samples::new(real.iter().zip(&bare).map(|(real, bare)| real.kib - bare.kib));
    report.rounds("kib_above_bare", "above the bare server, KiB", &above);
    if let Some(last) = real.last() {
        last.spent.tell(&mut report);
    }
    checked(&mut report, stage.check(crowd, &[flow]).await?);
    Ok(report)
}

/// What the attach of all to a bare server costs.
pub(super) async fn attach_bare(stage: &Stage<'_>) -> Result<Round> {
    let server = start_bare(&stage.authority, stage.dir(), &stage.lifeline, false)?;
    let (round, crowd) = attach(stage, server.pid(), server.address()?).await?;
    crowd.stop().await?;
    server.kill();
    Ok(round)
}

async fn attach(
    stage: &Stage<'_>,
    pid: u32,
    address: std::net::SocketAddr,
) -> Result<(Round, Crowd)> {
    let players = stage.args.players as f64;
    let before = resident_kib(pid)?;
    let manner = Manner { max_tasks: 4, delay: Delay::None, dialling: stage.args.dialling };
    let usage = Usage::now(Some(pid))?;
    let begin = Instant::now();
    let crowd = Crowd::start(&stage.identities, address, manner)?;
    let attached = crowd.attached(PATIENCE).await.during("attaching")?;
    let spent = usage.since(Some(pid))?;
    // What is freed a moment later does not count.
    sleep(Duration::from_millis(300)).await;
    let round = Round {
        rate: players / (attached - begin).as_secs_f64(),
        cpu: 1e6 * spent.conductor() / players,
        kib: (resident_kib(pid)? - before) / players,
        spent,
    };
    Ok((round, crowd))
}
