//! `orc conductor status`, `reload`, `recover`.

use std::io::{self, Write};

use orchestra_model::status::ConductorStatus;
use serde::Serialize;

use super::Program;
use crate::{
    args::ConductorVerb,
    client::Client,
    console::unwritten,
    error::Failure,
    exit::Exit,
    view::{Style, json, when_about},
};

#[derive(Serialize)]
struct Reloaded {
    players: u32,
    added: u32,
    removed: u32,
}

#[derive(Serialize)]
struct Recovered {
    term: u64,
    next_flow: u64,
}

/// Asks or tells the conductor itself.
pub(crate) fn conductor(verb: &ConductorVerb, program: &mut Program) -> Result<Exit, Failure> {
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let mut client = Client::connect(connection).await?;
        let (as_json, style) = (program.shared.json, program.console.style);
        let out = &mut program.console.out;
        let written = match verb {
            ConductorVerb::Status { .. } => {
                let status = client.conductor().await?;
                if as_json {
                    json::document(out, "conductor", &json::Conductor::from(&status))
                } else {
                    write_status(out, &status, style)
                }
            }
            ConductorVerb::Reload { allow_removal, .. } => {
                let answer = client.reload(*allow_removal).await?;
                let (players, added, removed) = (answer.players, answer.added, answer.removed);
                if as_json {
                    json::document(out, "reload", &Reloaded { players, added, removed })
                } else {
                    writeln!(out, "reloaded: {players} players, {added} added, {removed} removed")
                }
            }
            ConductorVerb::Recover { .. } => {
                let answer = client.recover().await?;
                let (term, next_flow) = (answer.term, answer.next_flow);
                if as_json {
                    json::document(out, "recover", &Recovered { term, next_flow })
                } else {
                    writeln!(out, "recovered: term {term}, the next flow is {next_flow}")
                }
            }
        };
        written.map_err(unwritten)?;
        Ok(Exit::Ok)
    })
}

fn write_status(out: &mut dyn Write, status: &ConductorStatus, style: Style) -> io::Result<()> {
    writeln!(
        out,
        "{} version {}, pid {}, since {}",
        status.name,
        status.version,
        status.pid,
        when_about(status.started_at)
    )?;
    writeln!(
        out,
        "players: {} of {} attached; flows that have not ended: {}",
        status.attached, status.players, status.flows_alive
    )?;
    writeln!(out, "deployments: {} with {} cells", status.deployments, status.cells)?;
    writeln!(out, "store: {} term {}", status.store_id, status.term)?;
    writeln!(out, "configuration: loaded {}", when_about(status.loaded_at))?;
    for (what, problem) in [
        ("the last reload changed nothing", &status.reload_error),
        ("nothing is sent", &status.stale_store),
        ("nothing is accepted", &status.store_error),
    ] {
        if let Some(problem) = problem {
            writeln!(out, "{}", style.warning(&format!("{what}: {problem}")))?;
        }
    }
    if status.stale_store.is_some() {
        writeln!(out, "to go on with this store: orc conductor recover")?;
    }
    Ok(())
}
