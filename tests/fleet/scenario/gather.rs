//! `getstatus -b` of a flow on all players, of whose outputs three differ: how long it takes, and how many
//! copies of them come.

use std::time::Instant;

use tokio::task::spawn_blocking;

use crate::{
    args::Args,
    delay::Delay,
    figures::{Report, Samples},
    scenario::{Tool, checked},
    stage::{PATIENCE, Stage},
    trouble::{During as _, Result, Trouble},
    voice::Says,
};

/// How many outputs there are.
const DIFFERENT: usize = 3;

pub(super) async fn run(args: &Args) -> Result<Report> {
    let mut stage = Stage::set(args, "gather", args.players).await?;
    let crowd = stage.crowd(1, Delay::None).await?;
    crowd.set_says(Says::OneOf(DIFFERENT as u64));
    let mut audience = stage.audience().await?;
    let wanted = crate::audience::Wanted::on(&stage.targets, args.players);
    let flow = audience.submit(&wanted).await?;
    crowd.common.ended.reach(flow.tasks() as u64, PATIENCE, "ends").await?;
    audience.ended(&flow, PATIENCE).await?;
    let getstatus = Tool::of(&stage, "getstatus")?;
    let mut took = Vec::new();
    let usage = stage.usage()?;
    for _ in 0..args.rounds() {
        let mut command = getstatus.command(&[&flow.id.to_string(), "-b"]);
        let ran = spawn_blocking(move || {
            let begin = Instant::now();
            command.output().map(|output| (output, begin.elapsed()))
        });
        let (output, elapsed) =
            ran.await.during("running getstatus")?.during("running getstatus")?;
        took.push(1e3 * elapsed.as_secs_f64());
        let text = String::from_utf8_lossy(&output.stdout);
        let counted = text.lines().filter_map(|line| line.strip_suffix(')')?.rsplit_once(" ("));
        let counts: Vec<usize> = counted.filter_map(|(_, count)| count.parse().ok()).collect();
        if counts.len() != DIFFERENT || counts.iter().sum::<usize>() != args.players {
            return Err(Trouble::new(format!("getstatus -b told of {counts:?} hosts")));
        }
    }
    let spent = usage.since(stage.pid())?;
    let (outputs, bytes) = audience.outputs(flow.id).await?;
    let mut report = Report::new("gather", args.players);
    report.rounds("gather_ms", "getstatus -b, ms", &Samples::new(took));
    report.number("different", "outputs that differ", DIFFERENT as f64);
    report.number("copies", "outputs that came", outputs as f64);
    report.number("answer_kib", "the whole answer, KiB", bytes as f64 / 1024.0);
    spent.tell(&mut report);
    checked(&mut report, stage.check(crowd, &[flow]).await?);
    Ok(report)
}
