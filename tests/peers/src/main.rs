//! `peers`: what other tools take for the work that `fleet` measures, on the same machine, a moment
//! after it. docs/fleet.md says what each comparison means.
//!
//! - `fleet throughput`: tasks that do nothing, each for one named worker, by `gearman` and `nats`,
//!   whose clients and workers are ours and speak the little of the protocol that this takes.
//! - `fleet exec`: programs that end at once, started by other tools' own programs (`processes`).
//!
//! Everything listens on loopback, writes into a directory of its own, and is gone afterwards. A tool
//! that is not installed, or fails, takes nothing away from the other figures.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "it prints what it measured")]

mod gearman;
mod nats;
mod ours;
mod peer;
mod processes;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, ValueEnum};
use orchestra_harness::{
    figures::Report,
    trouble::{During as _, Result, interrupted},
};

use crate::{
    ours::Fleet,
    peer::{Work, find, fresh},
};

/// The longest that tasks which do nothing are given to one peer: as long as ours, at most this.
const MOST: Duration = Duration::from_secs(10);

/// Gives the work of the fleet emulator to other tools, those that are installed, and prints their
/// rates and ours as a multiple of them.
///
/// Runs `fleet` first, which is looked for beside this program, and then gearmand and nats-server
/// (`throughput`), or clush and hq (`exec`). See docs/fleet.md.
#[derive(Clone, Debug, Parser)]
#[command(name = "peers", version, verbatim_doc_comment)]
struct Args {
    /// What to compare
    #[arg(required = true, value_enum, value_name = "SCENARIO")]
    scenarios: Vec<Scenario>,

    /// How many players, and workers of each peer
    #[arg(short = 'n', long, default_value_t = 1_000)]
    players: usize,

    /// Tasks of each player that are under way at any time, in `throughput`
    #[arg(long, default_value_t = 2)]
    in_flight: usize,

    /// How long `throughput` lasts; each peer has at most 10
    #[arg(long, default_value_t = 60)]
    seconds: u64,

    /// Print nothing but the JSON documents
    #[arg(long)]
    json: bool,

    /// Where fleet, and the programs that it needs, are [default: beside this program]
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// What is compared.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scenario {
    /// Many short tasks
    Throughput,
    /// Real processes
    Exec,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("peers: {}", orchestra_model::chain(&trouble));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.during("starting the runtime")?;
    let dir = tempfile::Builder::new().prefix("orchestra-peers-").tempdir();
    let dir = dir.during("making a directory")?;
    for scenario in &args.scenarios {
        let report = runtime.block_on(async {
            tokio::select! {
                report = compared(*scenario, args, dir.path()) => report,
                stopped = interrupted() => Err(stopped),
            }
        })?;
        if !args.json {
            println!("{}", report.lines());
        }
        println!("{}", report.json());
    }
    Ok(())
}

async fn compared(scenario: Scenario, args: &Args, dir: &Path) -> Result<Report> {
    let fleet = Fleet::find(args.programs.as_deref())?;
    match scenario {
        Scenario::Throughput => throughput(&fleet, args, dir).await,
        Scenario::Exec => exec(&fleet, dir).await,
    }
}

/// Tasks that do nothing: each for one of as many workers as there are players, and as many of them
/// under way.
async fn throughput(fleet: &Fleet, args: &Args, dir: &Path) -> Result<Report> {
    let numbers =
        [args.players, args.in_flight, args.seconds as usize].map(|number| number.to_string());
    let [players, in_flight, seconds] = numbers.each_ref().map(String::as_str);
    let options =
        ["--players", players, "--in-flight", in_flight, "--seconds", seconds, "--threads", "1"];
    let ours = fleet.run("throughput", &options, dir).await?.number("/tasks_a_second")?;
    let mut report = Report::new("peers of throughput", args.players);
    report.number("ours_rate", "ours, tasks a second", ours);
    let work = Work {
        workers: args.players,
        outstanding: args.players * args.in_flight.max(1),
        time: Duration::from_secs(args.seconds.max(1)).min(MOST),
    };
    let stored = gearman::Jobs::Stored;
    for (name, jobs) in [("gearmand", gearman::Jobs::InMemory), ("gearmand_sqlite3", stored)] {
        let rate = match find("gearmand") {
            Some(program) => Some(gearman::rate(&program, &fresh(dir, name)?, work, jobs).await),
            None => None,
        };
        tell(&mut report, name, ours, rate);
    }
    let rate = match find("nats-server") {
        Some(program) => Some(nats::rate(&program, &fresh(dir, "nats")?, work).await),
        None => None,
    };
    tell(&mut report, "nats", ours, rate);
    Ok(report)
}

/// As many processes as our player's that end at once, as many of them at the same time.
async fn exec(fleet: &Fleet, dir: &Path) -> Result<Report> {
    let document = fleet.run("exec", &[], dir).await?;
    let ours = document.number("/rate/median")?;
    let work = processes::Processes {
        times: document.number("/tasks")? as usize,
        at_once: document.number("/at_once")? as u32,
    };
    let mut report = Report::new("peers of exec", 1);
    report.number("ours_rate", "ours, no cgroups, tasks a second", ours);
    let rate = match find("clush") {
        Some(program) => Some(processes::clush(&program, &fresh(dir, "clush")?, work).await),
        None => None,
    };
    tell(&mut report, "clush", ours, rate);
    let rate = match find("hq") {
        Some(program) => Some(processes::hyperqueue(&program, &fresh(dir, "hq")?, work).await),
        None => None,
    };
    tell(&mut report, "hq", ours, rate);
    Ok(report)
}

/// Adds a peer's rate, and ours as a multiple of it; or why there is none.
fn tell(report: &mut Report, name: &str, ours: f64, rate: Option<Result<f64>>) {
    let shown = name.replace('_', ", ");
    match rate {
        None => report.text(name, &shown, "not installed"),
        Some(Err(trouble)) => {
            report.text(name, &shown, &format!("failed: {}", orchestra_model::chain(&trouble)));
        }
        Some(Ok(rate)) => {
            let what = format!("{shown}, tasks a second");
            report.number(&format!("{name}_rate"), &what, rate);
            let what = format!("ours, as a multiple of {shown}");
            report.number(&format!("{name}_ratio"), &what, ours / rate);
        }
    }
}
