//! One no-op job over all players: from submit to the verdict, with every result on disk; and what
//! the same messages take when nothing decides and nothing is written.

use std::time::Instant;

use crate::{
    args::Args,
    audience::Wanted,
    daemon::start_bare,
    figures::{Report, Samples},
    scenario::{checked, latencies},
    stage::{PATIENCE, Stage},
    trouble::Result,
    usage::{Usage, resident_kib},
};

/// As `player.toml` has it unless told otherwise.
const MAX_TASKS: u32 = 4;

pub(super) async fn run(args: &Args) -> Result<Report> {
    let mut stage = Stage::set(args, "ping", args.players).await?;
    let floor = floor(&stage).await?;
    let crowd = stage.crowd(MAX_TASKS, args.delay).await?;
    let common = &crowd.common;
    let mut audience = stage.audience().await?;
    let wanted = Wanted::on(&stage.targets, args.players);
    let (mut flows, mut seconds) = (Vec::new(), Vec::new());
    let mut usage = stage.usage()?;
    // One more before those that count.
    for round in 0..=args.rounds() {
        if round == 1 {
            usage = stage.usage()?;
        }
        let all = ((round + 1) * args.players) as u64;
        let flow = audience.submit(&wanted).await?;
        let ended = match args.watch {
            true => audience.watch(flow.id).await?,
            false => {
                common.ended.reach(all, PATIENCE, "ends").await?;
                audience.ended(&flow, PATIENCE).await?
            }
        };
        flows.push(flow);
        if round > 0 {
            seconds.push((ended - flow.at).as_secs_f64());
        }
    }
    // With the acknowledgements of the round before those that count, and not of the last: they go
    // along with the next orders.
    let spent = usage.since(stage.pid())?;
    let all = ((args.rounds() + 1) * args.players) as u64;
    common.acknowledged.reach(all, PATIENCE, "ends on disk").await?;

    let mut report = Report::new("ping", args.players);
    report.rounds("seconds", "submit to verdict, s", &Samples::new(seconds));
    report.rounds("floor_s", "the same messages from a bare server, s", &floor.seconds);
    let each = 1e6 * spent.conductor() / (args.rounds() * args.players) as f64;
    report.number("conductor_us_a_task", "conductor CPU a task, µs", each);
    report.number("floor_us_a_task", "bare server CPU a task, µs", floor.cpu);
    let traces = crowd.take_traces()?;
    latencies(&mut report, &flows[1..], &traces);
    if let Some(pid) = stage.pid() {
        report.number("rss_mib", "conductor resident, MiB", resident_kib(pid)? / 1024.0);
    }
    spent.tell(&mut report);
    checked(&mut report, stage.check_traces(crowd, &flows, &traces).await?);
    Ok(report)
}

/// What the messages alone cost: an order, what comes back, an acknowledgement.
struct Floor {
    seconds: Samples,
    /// Microseconds a task.
    cpu: f64,
}

async fn floor(stage: &Stage<'_>) -> Result<Floor> {
    let (args, lifeline) = (stage.args, &stage.lifeline);
    let mut server = start_bare(&stage.authority, stage.dir(), lifeline, true)?;
    let crowd = stage.crowd_of(server.address()?, MAX_TASKS, args.delay).await?;
    let pid = Some(server.pid());
    let mut seconds = Vec::new();
    let mut usage = Usage::now(pid)?;
    for round in 0..=args.rounds() {
        if round == 1 {
            usage = Usage::now(pid)?;
        }
        let all = ((round + 1) * args.players) as u64;
        let begin = Instant::now();
        server.prod()?;
        let end = crowd.common.acknowledged.reach(all, PATIENCE, "acknowledged ends").await?;
        if round > 0 {
            seconds.push((end - begin).as_secs_f64());
        }
    }
    let spent = usage.since(pid)?;
    crowd.stop().await?;
    server.kill();
    let cpu = 1e6 * spent.conductor() / (args.rounds() * args.players) as f64;
    Ok(Floor { seconds: Samples::new(seconds), cpu })
}
