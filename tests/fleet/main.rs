//! `fleet`: a fleet of emulated players on one real conductor, and how fast that is.
//!
//! What is real and what is not: `args.rs` says it, `docs/fleet.md` says how to read the results.
//!
//! - `crowd` is N players: the player's link code over `sitter`, dialled through `switch`.
//! - `stage` is everything else: `authority` (certificates), `daemon` (the conductor), `audience`.
//! - `scenario` has a file for each thing that is measured; `bare` is what one is compared with.
//! - `figures` (of the harness) and `usage` say what came out, what it cost, and what limited it.
//!
//! It shares the machine with what it measures, so it is kept lean: one runtime thread, no timer
//! and no allocation for a player that waits, latencies noted where things happen and put together
//! afterwards.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "it prints what it measured")]

mod args;
mod audience;
mod authority;
mod bare;
mod cells;
mod crowd;
mod daemon;
mod delay;
mod descriptors;
mod meter;
mod past;
mod scenario;
mod sitter;
mod stage;
mod switch;
mod usage;
mod voice;

use std::{
    fs::File,
    io::Read as _,
    process::{ExitCode, exit},
    thread,
};

use clap::Parser as _;
use orchestra_harness::{figures, trouble};
use tokio::runtime::{Builder, Runtime};

use crate::{
    args::{Args, Bare, Scenario},
    trouble::{During as _, Result, Trouble, interrupted},
};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let ran = match words.get(1).map(String::as_str) {
        Some("bare") => bare(&Bare::parse_from(&words[1..])),
        _ => run(&Args::parse()),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("fleet: {}", orchestra_model::chain(&trouble));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    if args.players == 0 {
        return Err(Trouble::new("a fleet has at least one player"));
    }
    // `restart` attaches players only where it can.
    if args.scenarios.iter().any(|scenario| *scenario != Scenario::Restart) {
        descriptors::raise_for(args.players)?;
    }
    let runtime = runtime(args.threads)?;
    for scenario in args.scenarios.iter().flat_map(|scenario| scenario.each()) {
        let report = runtime.block_on(async {
            tokio::select! {
                report = scenario::run(scenario, args) => report,
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

/// Is the bare server until it is killed, or whoever started it is gone.
fn bare(args: &Bare) -> Result<()> {
    let lifeline = File::open(format!("/proc/self/fd/{}", args.lifeline));
    let mut lifeline = lifeline.during("opening the lifeline")?;
    thread::spawn(move || {
        while matches!(lifeline.read(&mut [0; 64]), Ok(1..)) {}
        exit(0);
    });
    runtime(2)?.block_on(bare::serve(args))
}

fn runtime(threads: usize) -> Result<Runtime> {
    let built = match threads {
        0 | 1 => Builder::new_current_thread().enable_all().build(),
        threads => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    };
    built.during("starting the runtime")
}
