//! `orc conductor status`, `reload`, `recover`.

use std::io::{self, Write};

use orchestra_model::{status::ConductorStatus, time::Timestamp};
use orchestra_proto::v1;
use serde::Serialize;

use crate::{
    args::ConductorVerb,
    client::Client,
    console::unwritten,
    error::Failure,
    exit::Exit,
    program::Program,
    view::{Style, json, when_about},
};

#[derive(Serialize)]
struct Reloaded {
    players: u32,
    added: u32,
    removed: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployments: Option<DeploymentChanges>,
    closed: u32,
}

#[derive(Serialize)]
struct DeploymentChanges {
    now: u32,
    added: u32,
    changed: u32,
    removed: u32,
}

impl From<v1::ReloadResponse> for Reloaded {
    fn from(answer: v1::ReloadResponse) -> Self {
        let v1::ReloadResponse { players, added, removed, deployments, closed } = answer;
        let deployments =
            deployments.map(|v1::DeploymentChanges { now, added, changed, removed }| {
                DeploymentChanges { now, added, changed, removed }
            });
        Self { players, added, removed, deployments, closed }
    }
}

fn write_reloaded(out: &mut dyn Write, reloaded: &Reloaded) -> io::Result<()> {
    let Reloaded { players, added, removed, deployments, closed } = reloaded;
    write!(out, "reloaded: {players} players, {added} added, {removed} removed")?;
    if let Some(DeploymentChanges { now, added, changed, removed }) = deployments {
        write!(out, "; {now} deployments, {added} added, {changed} changed, {removed} removed")?;
    }
    if *closed > 0 {
        write!(out, "; {closed} connections closed, whose certificates are no longer accepted")?;
    }
    writeln!(out)
}

#[derive(Serialize)]
struct Recovered {
    term: u64,
    next_flow: u64,
}

#[derive(Serialize)]
struct RecoveryPlan<'a> {
    store_id: &'a str,
    stale_store: Option<&'a str>,
    term: u64,
    next_flow: u64,
    attached: u32,
    quarantined: u32,
}

impl<'a> From<&'a v1::PlanRecoverResponse> for RecoveryPlan<'a> {
    fn from(plan: &'a v1::PlanRecoverResponse) -> Self {
        Self {
            store_id: &plan.store_id,
            stale_store: Some(plan.stale_store.as_str()).filter(|why| !why.is_empty()),
            term: plan.term,
            next_flow: plan.next_flow,
            attached: plan.attached,
            quarantined: plan.quarantined,
        }
    }
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
                let reloaded = Reloaded::from(client.reload(*allow_removal).await?);
                if as_json {
                    json::document(out, "reload", &reloaded)
                } else {
                    write_reloaded(out, &reloaded)
                }
            }
            ConductorVerb::Recover { plan: true, .. } => {
                let plan = client.plan_recover().await?;
                if as_json {
                    json::document(out, "recover", &RecoveryPlan::from(&plan))
                } else {
                    write_recovery_plan(out, &plan, style)
                }
            }
            ConductorVerb::Recover { store, although_healthy, .. } => {
                let store = match store {
                    Some(store) => store.clone(),
                    None => client.conductor().await?.store_id,
                };
                let answer = client.recover(store, *although_healthy).await?;
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
    if status.quarantined > 0 {
        let text = format!(
            "quarantined: {} (orc players --quarantined). If the store was restored from a backup: \
             orc conductor recover",
            status.quarantined
        );
        writeln!(out, "{}", style.warning(&text))?;
    }
    writeln!(out, "deployments: {} with {} cells", status.deployments, status.cells)?;
    writeln!(out, "store: {} term {}", status.store_id, status.term)?;
    writeln!(out, "configuration: loaded {}", when_about(status.loaded_at))?;
    for (what, problem) in [
        ("the last reload changed nothing", &status.reload_error),
        ("revocation", &status.revocation_error),
        ("nothing is sent", &status.stale_store),
        (&*held(status.store_held_since), &status.store_error),
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

/// Since when nothing is taken in.
fn held(since: Option<Timestamp>) -> String {
    match since {
        Some(since) => format!("nothing is accepted since {}", when_about(since)),
        None => "nothing is accepted".to_owned(),
    }
}

fn write_recovery_plan(
    out: &mut dyn Write,
    plan: &v1::PlanRecoverResponse,
    style: Style,
) -> io::Result<()> {
    let RecoveryPlan { store_id, stale_store, term, next_flow, attached, quarantined } =
        plan.into();
    match stale_store {
        Some(why) => writeln!(out, "store {store_id} counts as an old copy: {why}")?,
        None => {
            let text = format!("nothing says that store {store_id} is an old copy");
            writeln!(out, "{}", style.warning(&text))?;
        }
    }
    writeln!(out, "a recovery would")?;
    writeln!(out, "- raise the term to {term} or more, and make a new proof key")?;
    writeln!(
        out,
        "- number the next flow {next_flow}, and leave out numbers of orders and attempts"
    )?;
    writeln!(out, "- send {attached} players away, to come back and tell their state anew")?;
    writeln!(out, "- make what may have run in the forgotten time lost, its hosts down")?;
    if quarantined > 0 {
        writeln!(
            out,
            "- leave those quarantined that cannot prove what they claim: {quarantined}"
        )?;
    }
    Ok(())
}
