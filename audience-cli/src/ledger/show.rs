//! `orc ledger`: which hosts hold which cells.

use std::io::{self, Write as _};

use serde::Serialize;

use crate::{
    args::{LedgerArgs, LedgerVerb, ReleaseArgs},
    client::Client,
    console::unwritten,
    error::Failure,
    exit::Exit,
    input::Inputs,
    program::Program,
    view::{
        json::{self, List},
        ledger::{OfCell, cell},
    },
};

/// Shows the ledger, or changes it.
pub(crate) fn ledger(args: &LedgerArgs, program: &mut Program) -> Result<Exit, Failure> {
    match &args.verb {
        Some(LedgerVerb::Release(args)) => release(args, program),
        None => show(args, program),
    }
}

fn show(args: &LedgerArgs, program: &mut Program) -> Result<Exit, Failure> {
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let mut client = Client::connect(connection).await?;
        let mut pages = client.ledger(args.deployment.as_ref(), !args.all).await?;
        let style = program.console.style;
        let out = &mut program.console.out;
        if program.shared.json {
            let mut list = List::begin(out, "cells").map_err(unwritten)?;
            while let Some(cell) = pages.next_item().await? {
                list.add(&OfCell::from(&cell)).map_err(unwritten)?;
            }
            list.end().map_err(unwritten)?;
            return Ok(Exit::Ok);
        }
        let (mut some, mut down) = (false, false);
        while let Some(status) = pages.next_item().await? {
            some = true;
            down |= status.holders.iter().any(|holder| holder.down.is_some());
            cell(out, &status, style).map_err(unwritten)?;
        }
        out.finish()?;
        let console = &program.console;
        match (some, args.all) {
            (false, true) => console.narrate("no cells: no deployment limits anything"),
            (false, false) => console.narrate("no cell is held or waited for"),
            (true, _) if down => console.narrate(
                "a host that is down holds its cells until a disruptive task succeeds there, or: \
                 orc ledger release HOSTS --reason WHY",
            ),
            (true, _) => {}
        }
        Ok(Exit::Ok)
    })
}

#[derive(Serialize)]
struct Released<'a> {
    hosts: &'a str,
    count: u32,
}

fn release(args: &ReleaseArgs, program: &mut Program) -> Result<Exit, Failure> {
    let hosts = args.hosts(&mut Inputs::new(&mut io::stdin().lock()))?;
    let reason = args.reason.clone();
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let answer = Client::connect(connection).await?.release(hosts, reason).await?;
        let (hosts, count) = (answer.hosts.as_str(), answer.count);
        let out = &mut program.console.out;
        if program.shared.json {
            json::document(out, "released", &Released { hosts, count }).map_err(unwritten)?;
        } else if count > 0 {
            writeln!(out, "released {hosts} ({count})").map_err(unwritten)?;
        } else {
            program.console.narrate("nothing changed: none of them counts as down");
        }
        Ok(Exit::Ok)
    })
}
