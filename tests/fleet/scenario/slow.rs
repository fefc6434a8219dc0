//! One player in a hundred makes no progress, one in a hundred is cut off from the network without
//! a word, both in the middle of a flow: whether the others notice.
//!
//! The flow is a chain on each player, which takes one task at a time, so that whatever delays an
//! order delays that player's end.

use std::time::Instant;

use crate::{
    args::Args,
    audience::{Audience, Submitted, Wanted},
    crowd::Crowd,
    delay::Delay,
    figures::{Report, Samples},
    scenario::checked,
    stage::{PATIENCE, Stage},
    trouble::Result,
};

pub(super) async fn run(args: &Args) -> Result<Report> {
    let mut stage = Stage::set(args, "slow", args.players).await?;
    let jobs = (args.flow_tasks() / args.players.max(1)).clamp(5, 100);
    let each = args.flow_time() / u32::try_from(jobs).unwrap_or(u32::MAX);
    let crowd = stage.crowd(1, Delay::Between(each, each)).await?;
    let mut audience = stage.audience().await?;
    let wanted = Wanted { jobs, ..Wanted::on(&stage.targets, args.players) };
    // At least one of each kind, and not the same.
    let stalled: Vec<usize> = (0..args.players).step_by(100).collect();
    let cut_off: Vec<usize> = (1..args.players).step_by(100).collect();
    let away = stalled.len() + cut_off.len();
    let (mut alone, mut beside, mut flows) = (Vec::new(), Vec::new(), Vec::new());
    let usage = stage.usage()?;
    for _ in 0..args.rounds() {
        let all = jobs * args.players;
        let healthy = jobs * (args.players - away);
        let flow = run_flow(&crowd, &mut audience, &wanted, &mut flows).await?;
        alone.push(until(&crowd, flow, healthy).await?);
        audience.ended(&flow.0, PATIENCE).await?;

        crowd.disturb(&stalled, &cut_off);
        let flow = run_flow(&crowd, &mut audience, &wanted, &mut flows).await?;
        let seconds = until(&crowd, flow, healthy).await;
        crowd.heal();
        beside.push(seconds?);
        crowd.common.acknowledged.reach(flow.1 + all as u64, PATIENCE, "ends on disk").await?;
        audience.ended(&flow.0, PATIENCE).await?;
        crowd.attached(PATIENCE).await?;
    }
    let spent = usage.since(stage.pid())?;

    let mut report = Report::new("slow", args.players);
    report.number("stalled", "players that read nothing", stalled.len() as f64);
    report.number("cut_off", "players that vanished without closing", cut_off.len() as f64);
    report.rounds("alone_s", "98 % of the flow, all well, s", &Samples::new(alone.iter().copied()));
    report.rounds("beside_s", "the healthy 98 %, s", &Samples::new(beside.iter().copied()));
    let slowed = Samples::new(beside.iter().zip(&alone).map(|(beside, alone)| beside / alone));
    report.rounds("slowed", "ratio", &slowed);
    spent.tell(&mut report);
    checked(&mut report, stage.check(crowd, &flows).await?);
    Ok(report)
}

/// Submits; returns the flow, and how many attempts had ended before.
async fn run_flow(
    crowd: &Crowd,
    audience: &mut Audience,
    wanted: &Wanted,
    flows: &mut Vec<Submitted>,
) -> Result<(Submitted, u64)> {
    let before = crowd.common.ended.count();
    let flow = audience.submit(wanted).await?;
    flows.push(flow);
    Ok((flow, before))
}

/// Waits for so many ends of the flow; returns how long they took.
async fn until(crowd: &Crowd, (flow, before): (Submitted, u64), ends: usize) -> Result<f64> {
    let at: Instant = crowd.common.ended.reach(before + ends as u64, PATIENCE, "ends").await?;
    Ok((at - flow.at).as_secs_f64())
}
