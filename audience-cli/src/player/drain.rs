//! `orc drain` and `orc undrain`.

use std::io::{self, Write as _};

use orchestra_proto::v1;
use serde::Serialize;

use crate::{
    args::{DrainArgs, UndrainArgs},
    client::Client,
    console::unwritten,
    error::Failure,
    exit::Exit,
    input::Inputs,
    program::Program,
    view::json,
};

#[derive(Serialize)]
struct Changed<'a> {
    hosts: &'a str,
    count: u32,
    in_flight: u32,
}

/// Lets nothing new start on players; those that were drained before stay so.
pub(crate) fn drain(args: &DrainArgs, program: &mut Program) -> Result<Exit, Failure> {
    let hosts = args.hosts(&mut Inputs::new(&mut io::stdin().lock()))?;
    let reason = args.reason.clone();
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let answer = Client::connect(connection).await?.drain(hosts, reason).await?;
        tell("drained", &answer, program)?;
        let running = match answer.in_flight {
            0 => return Ok(Exit::Ok),
            1 => "1 task still runs".to_owned(),
            n => format!("{n} tasks still run"),
        };
        program.console.narrate(format_args!("{running} there and may finish"));
        Ok(Exit::Ok)
    })
}

/// Lets drained players work again.
pub(crate) fn undrain(args: &UndrainArgs, program: &mut Program) -> Result<Exit, Failure> {
    let hosts = args.hosts(&mut Inputs::new(&mut io::stdin().lock()))?;
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let answer = Client::connect(connection).await?.undrain(hosts).await?;
        tell("undrained", &answer, program)?;
        Ok(Exit::Ok)
    })
}

fn tell(what: &str, answer: &v1::DrainResponse, program: &mut Program) -> Result<(), Failure> {
    let (hosts, count, in_flight) = (answer.hosts.as_str(), answer.count, answer.in_flight);
    let out = &mut program.console.out;
    if program.shared.json {
        return json::document(out, what, &Changed { hosts, count, in_flight }).map_err(unwritten);
    }
    if count > 0 {
        writeln!(out, "{what} {hosts} ({count})").map_err(unwritten)?;
        return out.finish();
    }
    program.console.narrate(format_args!("nothing changed: all of them were {what} before"));
    Ok(())
}
