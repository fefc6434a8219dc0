//! Nothing happens: what attached players cost by being there.

use tokio::time::sleep;

use crate::{
    args::Args,
    audience::Wanted,
    delay::Delay,
    figures::Report,
    scenario::checked,
    stage::{PATIENCE, Stage},
    trouble::Result,
    usage::resident_kib,
};

pub(super) async fn run(args: &Args) -> Result<Report> {
    let mut stage = Stage::set(args, "idle", args.players).await?;
    let crowd = stage.crowd(4, Delay::None).await?;
    sleep(args.moment()).await;
    let usage = stage.usage()?;
    sleep(args.time()).await;
    let spent = usage.since(stage.pid())?;

    let mut report = Report::new("idle", args.players);
    let percent = 100.0 * spent.conductor() / args.time().as_secs_f64();
    report.number("conductor_percent", "conductor, percent of a core", percent);
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
