//! Nothing happens: what attached players cost by being there, to a bare server of the same run and
//! to the conductor.

use tokio::time::sleep;

use crate::{
    args::Args,
    audience::Wanted,
    daemon::start_bare,
    delay::Delay,
    figures::Report,
    scenario::checked,
    stage::{PATIENCE, Stage},
    trouble::Result,
    usage::{Spent, Usage, resident_kib},
};

pub(super) async fn run(args: &Args) -> Result<Report> {
    let mut stage = Stage::set(args, "idle", args.players).await?;
    let server = start_bare(&stage.authority, stage.dir(), &stage.lifeline, false)?;
    let crowd = stage.crowd_of(server.address()?, 4, Delay::None).await?;
    let bare = spent_idly(args, Some(server.pid())).await?;
    crowd.stop().await?;
    server.kill();

    let crowd = stage.crowd(4, Delay::None).await?;
    let spent = spent_idly(args, stage.pid()).await?;

    let mut report = Report::new("idle", args.players);
    let percent = |spent: &Spent| 100.0 * spent.conductor() / args.time().as_secs_f64();
    report.number("conductor_percent", "conductor, percent of a core", percent(&spent));
    report.number("bare_percent", "a bare server, percent of a core", percent(&bare));
    if let Some(pid) = stage.pid() {
        report.number("rss_mib", "conductor resident, MiB", resident_kib(pid)? / 1024.0);
    }
    spent.tell(&mut report);
    // All of them are still there.
    let tasks = args.players as u64;
    let flow = stage.audience().await?.submit(&Wanted::on(&stage.targets, args.players)).await?;
    crowd.common.acknowledged.reach(tasks, PATIENCE, "ends on disk").await?;
    checked(&mut report, stage.check(crowd, &[flow]).await?);
    Ok(report)
}

/// What the server of this process, and we, take for a while in which nothing is asked for.
async fn spent_idly(args: &Args, server: Option<u32>) -> Result<Spent> {
    sleep(args.moment()).await;
    let usage = Usage::now(server)?;
    sleep(args.time()).await;
    usage.since(server)
}
