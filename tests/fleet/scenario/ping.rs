//! One no-op job over all players: from submit to the verdict, with every result on disk.

use crate::{
    args::Args,
    audience::Wanted,
    figures::{Report, Samples},
    scenario::{checked, latencies},
    stage::{PATIENCE, Stage},
    trouble::Result,
    usage::resident_kib,
};

/// As `player.toml` has it unless told otherwise.
const MAX_TASKS: u32 = 4;

pub(super) async fn run(args: &Args) -> Result<Report> {
    let mut stage = Stage::set(args, "ping", args.players).await?;
    let crowd = stage.crowd(MAX_TASKS, args.delay).await?;
    let mut audience = stage.audience().await?;
    let wanted = Wanted::on(&stage.targets, args.players);
    let mut flows = Vec::new();
    let mut seconds = Vec::new();
    let mut usage = stage.usage()?;
    // One more before those that count.
    for round in 0..=args.rounds() {
        if round == 1 {
            usage = stage.usage()?;
        }
        let goal = crowd.common.acknowledged.count() + args.players as u64;
        let flow = audience.submit(&wanted).await?;
        let ended = match args.watch {
            true => audience.watch(flow.id).await?,
            false => {
                crowd.common.acknowledged.reach(goal, PATIENCE, "ends on disk").await?;
                audience.ended(&flow, PATIENCE).await?
            }
        };
        flows.push(flow);
        if round > 0 {
            seconds.push((ended - flow.at).as_secs_f64());
        }
        crowd.common.acknowledged.reach(goal, PATIENCE, "ends on disk").await?;
    }
    let spent = usage.since(stage.pid())?;

    let mut report = Report::new("ping", args.players);
    report.rounds("seconds", "submit to verdict, s", &Samples::new(seconds));
    let tasks = (args.rounds() * args.players) as f64;
    let each = 1e6 * spent.conductor() / tasks;
    report.number("conductor_us_a_task", "conductor CPU a task, µs", each);
    let traces = crowd.take_traces()?;
    latencies(&mut report, &flows[1..], &traces);
    if let Some(pid) = stage.pid() {
        report.number("rss_mib", "conductor resident, MiB", resident_kib(pid)? / 1024.0);
    }
    spent.tell(&mut report);
    checked(&mut report, stage.check_traces(crowd, &flows, &traces).await?);
    Ok(report)
}
