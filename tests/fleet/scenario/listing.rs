//! Somebody lists every task of a flow while it runs, with `getstatus`: how long that takes, and
//! how much it slows the flow.
//!
//! The flow's window lets a hundredth of its tasks run at once, so that whatever delays one of
//! them delays the whole.

use std::{
    io::{BufRead as _, BufReader},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    args::Args,
    audience::{Audience, Submitted, Wanted},
    crowd::Crowd,
    delay::Delay,
    figures::{Report, Samples},
    scenario::{Tool, checked},
    stage::{PATIENCE, Stage},
    trouble::{During as _, Result, Trouble},
};

pub(super) async fn run(args: &Args) -> Result<Report> {
    let mut stage = Stage::set(args, "listing", args.players).await?;
    let window = args.players.div_ceil(100);
    let waves = args.players.div_ceil(window);
    let each = args.flow_time() / u32::try_from(waves).unwrap_or(u32::MAX);
    let crowd = stage.crowd(4, Delay::Between(each, each)).await?;
    let mut audience = stage.audience().await?;
    let parallel = u32::try_from(window).ok();
    let wanted = Wanted { parallel, ..Wanted::on(&stage.targets, args.players) };
    let getstatus = Getstatus(Tool::of(&stage, "getstatus")?);
    let (mut alone, mut beside, mut flows) = (Vec::new(), Vec::new(), Vec::new());
    let (mut first, mut whole) = (Vec::new(), Vec::new());
    let usage = stage.usage()?;
    for _ in 0..args.rounds() {
        let flow = audience.submit(&wanted).await?;
        alone.push(until_ended(&crowd, &mut audience, &flow).await?);
        flows.push(flow);

        let flow = audience.submit(&wanted).await?;
        let over = Arc::new(AtomicBool::new(false));
        let lists = getstatus.clone().list_until(Arc::clone(&over), flow, args.moment());
        let lists = tokio::spawn(lists);
        let ended = until_ended(&crowd, &mut audience, &flow).await;
        over.store(true, Ordering::Relaxed);
        beside.push(ended?);
        flows.push(flow);
        for listed in lists.await.map_err(|error| Trouble::new(error.to_string()))?? {
            first.push(1e3 * listed.first.as_secs_f64());
            whole.push(1e3 * listed.whole.as_secs_f64());
        }
    }
    let spent = usage.since(stage.pid())?;

    let mut report = Report::new("listing", args.players);
    report.latencies("first_line_ms", "getstatus --tasks, first line, ms", &Samples::new(first));
    report.latencies("all_ms", "getstatus --tasks, all, ms", &Samples::new(whole));
    let slowed = Samples::new(beside.iter().zip(&alone).map(|(beside, alone)| beside / alone));
    report.rounds("alone_s", "the flow alone, s", &Samples::new(alone));
    report.rounds("beside_s", "the flow while it is listed, s", &Samples::new(beside));
    report.rounds("slowed", "ratio", &slowed);
    spent.tell(&mut report);
    checked(&mut report, stage.check(crowd, &flows).await?);
    Ok(report)
}

/// Waits for the end of a flow over the whole crowd; returns how long it took.
async fn until_ended(crowd: &Crowd, audience: &mut Audience, flow: &Submitted) -> Result<f64> {
    // Nothing else runs, so what is left of the flow is what has not ended.
    let tasks = flow.tasks() as u64;
    let goal = (crowd.common.ended.count() / tasks + 1) * tasks;
    crowd.common.ended.reach(goal, PATIENCE, "ends").await?;
    let ended = audience.ended(flow, PATIENCE).await?;
    Ok((ended - flow.at).as_secs_f64())
}

#[derive(Clone, Debug)]
struct Getstatus(Tool);

/// How long one listing took.
#[derive(Debug)]
struct Listed {
    first: Duration,
    whole: Duration,
}

impl Getstatus {
    async fn list_until(
        self,
        over: Arc<AtomicBool>,
        flow: Submitted,
        pause: Duration,
    ) -> Result<Vec<Listed>> {
        let mut lists = Vec::new();
        loop {
            sleep(pause).await;
            if over.load(Ordering::Relaxed) && !lists.is_empty() {
                return Ok(lists);
            }
            let getstatus = self.clone();
            let listed = spawn_blocking(move || getstatus.list(&flow)).await;
            lists.push(listed.map_err(|error| Trouble::new(error.to_string()))??);
        }
    }

    /// Runs it once. Every task has to be on a line.
    fn list(&self, flow: &Submitted) -> Result<Listed> {
        const WHAT: &str = "running getstatus";
        let begin = Instant::now();
        let mut child = self.0.command(&[&flow.id.to_string(), "--tasks"]).spawn().during(WHAT)?;
        let out = child.stdout.take().ok_or_else(|| Trouble::new(WHAT))?;
        let mut lines = BufReader::with_capacity(1 << 16, out).lines();
        let first_line = lines.next().transpose().during(WHAT)?;
        let first = begin.elapsed();
        let count = first_line.iter().count() + lines.count();
        let whole = begin.elapsed();
        let status = child.wait().during(WHAT)?;
        if count < flow.tasks() {
            return Err(Trouble::new(format!(
                "getstatus ({status}) told {count} lines of {} tasks",
                flow.tasks()
            )));
        }
        Ok(Listed { first, whole })
    }
}
