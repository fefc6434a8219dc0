//! `orc logs`: what a task wrote, attempt by attempt. Its standard output goes to standard
//! output, its standard error and what is said about it to standard error.

use std::fmt::Write as _;

use orchestra_model::delivery::Outcome;

use crate::{
    args::LogsArgs,
    client::{AttemptLog, Client},
    console::{Console, unwritten},
    error::Failure,
    exit::Exit,
    program::Program,
    view::{
        Page as _, elapsed,
        json::{Attempt, List},
        one_line,
        task::signal_name,
        task::written::text,
        when_about,
    },
};

/// Shows the attempts that a reference names.
pub(crate) fn logs(args: &LogsArgs, program: &mut Program) -> Result<Exit, Failure> {
    let reference = args.reference()?;
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let mut client = Client::connect(connection).await?;
        let mut pages = client.logs(&reference).await?;
        if program.shared.json {
            let mut list = List::begin(&mut program.console.out, "attempts").map_err(unwritten)?;
            while let Some(log) = pages.next_item().await? {
                list.add(&Attempt::from(&log)).map_err(unwritten)?;
            }
            list.end().map_err(unwritten)?;
            return Ok(Exit::Ok);
        }
        let mut some = false;
        while let Some(log) = pages.next_item().await? {
            some = true;
            show(&log, &mut program.console)?;
        }
        if !some {
            program.console.narrate("no attempt has ended yet");
        }
        Ok(Exit::Ok)
    })
}

fn show(log: &AttemptLog, console: &mut Console) -> Result<(), Failure> {
    console.narrate(heading(log));
    let stdout = text(&log.end.stdout);
    console.out.foreign(&stdout).map_err(unwritten)?;
    console.out.finish()?;
    let stderr = text(&log.end.stderr);
    console.narrate_foreign(&stderr);
    Ok(())
}

/// `42.1.1@db3#1 exit 3, started 2026-11-21T08:00:00Z, took 2.5s`.
fn heading(log: &AttemptLog) -> String {
    let end = &log.end;
    let outcome = match &end.outcome {
        Outcome::Exited(code) => format!("exit {code}"),
        Outcome::Signalled(signal) => signal_name(*signal),
        Outcome::TimedOut => "timed-out".to_owned(),
        Outcome::Cancelled => "cancelled".to_owned(),
        Outcome::Lost(why) => format!("lost: {}", one_line(why)),
    };
    let mut text = format!("{}@{}#{} {outcome}", log.job, log.host, log.attempt);
    if let Some(started) = end.started_at {
        let took = elapsed(end.ended_at.since(started));
        let _ = write!(text, ", started {}, took {took}", when_about(started));
    }
    if log.late {
        text.push_str(", reported after the task was final");
    }
    text
}
