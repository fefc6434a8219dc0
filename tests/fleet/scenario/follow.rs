//! `orc logs -f` of players that write a hundred lines a second each: how long a line takes, and in how much
//! memory. Somebody else began to follow too, and has stopped reading.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    args::Args,
    audience::{Submitted, Wanted},
    crowd::Crowd,
    delay::Delay,
    figures::{Report, Samples},
    scenario::{Tool, checked},
    stage::{PATIENCE, Stage},
    trouble::{During as _, Result, Trouble},
    usage::peak_kib,
    voice::Says,
};

/// Lines of a player in a second.
const LINES: u64 = 100;
/// Most players: so many attempts are read at once for one reader.
const PLAYERS: usize = 500;
const WHAT: &str = "following what players write";

pub(super) async fn run(args: &Args) -> Result<Report> {
    let players = args.players.min(PLAYERS);
    let mut stage = Stage::set(args, "follow", players).await?;
    let crowd = stage.crowd(1, Delay::Between(args.flow_time(), args.flow_time())).await?;
    crowd.set_says(Says::Lines(LINES));
    let orc = Tool::of(&stage, "orc")?;
    let wanted = Wanted::on(&stage.targets, players);
    let mut audience = stage.audience().await?;
    let (mut alone, mut beside, mut flows) = (Vec::new(), Vec::new(), Vec::new());
    let (mut waits, mut client_kib, mut lines) = (Vec::new(), 0.0_f64, 0);
    let mut unfollowed_kib = None;
    let usage = stage.usage()?;
    for _ in 0..args.rounds() {
        let flow = audience.submit(&wanted).await?;
        flows.push(flow);
        alone.push(until_ended(&crowd, &mut audience, &flow).await?);
        if unfollowed_kib.is_none() {
            unfollowed_kib = stage.pid().map(peak_kib).transpose()?;
        }

        let flow = audience.submit(&wanted).await?;
        flows.push(flow);
        let id = flow.id.to_string();
        let stuck = Follower::start(&orc, &id)?;
        kill_process(stuck.pid()?, Signal::STOP).during(WHAT)?;
        let mut follower = Follower::start(&orc, &id)?;
        let (pid, out) = (follower.0.id(), follower.0.stdout.take());
        let reading = spawn_blocking(move || Heard::of(out));
        let mut ended = std::pin::pin!(until_ended(&crowd, &mut audience, &flow));
        let seconds = loop {
            tokio::select! {
                seconds = &mut ended => break seconds?,
                () = sleep(Duration::from_millis(50)) => {
                    // It may be over already.
                    client_kib = client_kib.max(peak_kib(pid).unwrap_or_default());
                }
            }
        };
        beside.push(seconds);
        let heard = reading.await.during(WHAT)??;
        heard.check(players)?;
        lines += heard.waits.len();
        waits.extend(heard.waits);
    }
    let spent = usage.since(stage.pid())?;
    let conductor_kib = stage.pid().map_or(Ok(0.0), peak_kib)?;
    let mut report = Report::new("follow", players);
    report.number("lines", "lines that were told, each once", lines as f64);
    report.latencies("line_ms", "from written to told, ms", &Samples::new(waits));
    report.number("client_mib", "orc logs -f, the most memory, MiB", client_kib / 1024.0);
    report.number("conductor_mib", "conductor, the most memory, MiB", conductor_kib / 1024.0);
    let unfollowed_mib = unfollowed_kib.unwrap_or_default() / 1024.0;
    report.number(
        "unfollowed_mib",
        "the same after a flow that nobody followed, MiB",
        unfollowed_mib,
    );
    let slowed = Samples::new(beside.iter().zip(&alone).map(|(beside, alone)| beside / alone));
    report.rounds("alone_s", "the flow alone, s", &Samples::new(alone));
    report.rounds("beside_s", "the flow while it is followed, s", &Samples::new(beside));
    report.rounds("slowed", "ratio", &slowed);
    spent.tell(&mut report);
    checked(&mut report, stage.check(crowd, &flows).await?);
    Ok(report)
}

/// Waits for the end of a flow over the whole crowd; returns how long it took.
async fn until_ended(
    crowd: &Crowd,
    audience: &mut crate::audience::Audience,
    flow: &Submitted,
) -> Result<f64> {
    let tasks = flow.tasks() as u64;
    let goal = (crowd.common.ended.count() / tasks + 1) * tasks;
    crowd.common.ended.reach(goal, PATIENCE, "ends").await?;
    let ended = audience.ended(flow, PATIENCE).await?;
    Ok((ended - flow.at).as_secs_f64())
}

/// Somebody who follows; killed when dropped.
struct Follower(Child);

impl Follower {
    fn start(orc: &Tool, flow: &str) -> Result<Self> {
        Ok(Self(orc.command(&["logs", flow, "-f"]).spawn().during(WHAT)?))
    }

    fn pid(&self) -> Result<Pid> {
        Pid::from_raw(self.0.id().cast_signed()).ok_or_else(|| Trouble::new(WHAT))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a follower was told.
struct Heard {
    /// How many milliseconds each line took.
    waits: Vec<f64>,
    /// How many lines each player wrote.
    lines: HashMap<String, u64>,
}

impl Heard {
    /// Reads until there is no more. Lines of a player have to come in order, none left out.
    fn of(out: Option<ChildStdout>) -> Result<Self> {
        let out = out.ok_or_else(|| Trouble::new(WHAT))?;
        let mut heard = Self { waits: Vec::new(), lines: HashMap::new() };
        for line in BufReader::with_capacity(1 << 16, out).lines() {
            let line = line.during(WHAT)?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let mut words = line.splitn(4, ' ');
            let mut word = || words.next().unwrap_or_default();
            let (host, at, number) = (word(), word().parse::<f64>(), word().parse::<u64>());
            let next = heard.lines.entry(host.to_owned()).or_default();
            match (at, number) {
                (Ok(at), Ok(number)) if number == *next => {
                    *next += 1;
                    heard.waits.push(1e3 * now.as_secs_f64() - at);
                }
                _ => return Err(Trouble::new(format!("line {next} of a host is {line:?}"))),
            }
        }
        Ok(heard)
    }

    /// Every player was heard, each as long as the others but for a line.
    fn check(&self, players: usize) -> Result<()> {
        let (least, most) = (self.lines.values().min(), self.lines.values().max());
        match (least, most) {
            (Some(least), Some(most)) if self.lines.len() == players && most - least <= LINES => {
                Ok(())
            }
            _ => Err(Trouble::new(format!(
                "{} players were heard, {least:?} to {most:?} lines of each",
                self.lines.len()
            ))),
        }
    }
}
