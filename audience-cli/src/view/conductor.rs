//! The conductor's status, and answers to its verbs.

use std::io;

use orchestra_client::{DeploymentChanges, RecoveredStore, RecoveryPlan, Reloaded};
use orchestra_model::{
    limits,
    service::{FileChange, FileOutcome},
    status::ConductorStatus,
    time::Timestamp,
};
use serde::Serialize;

use super::{Output, Page, Style, one_line, when, when_about};
use crate::program::now;

impl Output for &ConductorStatus {
    fn noun(&self) -> &'static str {
        "conductor"
    }

    fn json(self) -> impl Serialize {
        Conductor::from(self)
    }

    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        write_status(out, self, now(), style)
    }
}

#[derive(Serialize)]
struct Conductor<'a> {
    name: &'a str,
    version: &'a str,
    pid: u32,
    now: Option<String>,
    started_at: String,
    store_id: &'a str,
    term: u64,
    players: u32,
    attached: u32,
    quarantined: u32,
    flows_alive: u32,
    deployments: u32,
    cells: u32,
    loaded_at: String,
    reload_error: Option<&'a str>,
    revocation_error: Option<&'a str>,
    audit_export_error: Option<&'a str>,
    certificate_ends: Option<String>,
    certificates_ending: u32,
    stale_store: Option<&'a str>,
    store_error: Option<&'a str>,
    store_held_since: Option<String>,
}

impl<'a> From<&'a ConductorStatus> for Conductor<'a> {
    fn from(status: &'a ConductorStatus) -> Self {
        Self {
            name: &status.name,
            version: &status.version,
            pid: status.pid,
            now: status.now.map(when),
            started_at: when(status.started_at),
            store_id: &status.store_id,
            term: status.term,
            players: status.players,
            attached: status.attached,
            quarantined: status.quarantined,
            flows_alive: status.flows_alive,
            deployments: status.deployments,
            cells: status.cells,
            loaded_at: when(status.loaded_at),
            reload_error: status.reload_error.as_deref(),
            revocation_error: status.revocation_error.as_deref(),
            audit_export_error: status.audit_export_error.as_deref(),
            certificate_ends: status.certificate_ends.map(when),
            certificates_ending: status.certificates_ending,
            stale_store: status.stale_store.as_deref(),
            store_error: status.store_error.as_deref(),
            store_held_since: status.store_held_since.map(when),
        }
    }
}

fn write_status(
    out: &mut dyn io::Write,
    status: &ConductorStatus,
    now: Timestamp,
    style: Style,
) -> io::Result<()> {
    writeln!(
        out,
        "{} version {}, pid {}, since {}",
        one_line(&status.name),
        one_line(&status.version),
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
    writeln!(out, "store: {} term {}", one_line(&status.store_id), status.term)?;
    writeln!(out, "configuration: loaded {}", when_about(status.loaded_at))?;
    write_certificates(out, status, now, style)?;
    for (what, problem) in [
        ("the last reload changed nothing", &status.reload_error),
        ("revocation", &status.revocation_error),
        ("the audit is not exported", &status.audit_export_error),
        ("nothing is sent", &status.stale_store),
        (&*held(status.store_held_since), &status.store_error),
    ] {
        if let Some(problem) = problem {
            writeln!(out, "{}", style.warning(&format!("{what}: {}", lines(problem))))?;
        }
    }
    if status.stale_store.is_some() {
        writeln!(out, "to go on with this store: orc conductor recover")?;
    }
    Ok(())
}

/// Says until when the conductor's certificate is valid, and how many others end soon.
fn write_certificates(
    out: &mut dyn io::Write,
    status: &ConductorStatus,
    now: Timestamp,
    style: Style,
) -> io::Result<()> {
    if let Some(ends) = status.certificate_ends {
        let text = format!("certificate: until {}", when_about(ends));
        match ends < now.after(limits::CERTIFICATE_NOTICE) {
            true => writeln!(out, "{}", style.warning(&format!("{text}, which is soon")))?,
            false => writeln!(out, "{text}")?,
        }
    }
    match status.certificates_ending {
        0 => Ok(()),
        n => {
            let text = format!(
                "certificates that end within 30 days: of {n} who are connected (orc players --expiring)"
            );
            writeln!(out, "{}", style.warning(&text))
        }
    }
}

/// Indents all lines but the first: the conductor's text about its files may have a line for each
/// problem, and none must look like a line of ours.
fn lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(one_line).collect();
    lines.join("\n  ")
}

/// Says since when the store cannot be written.
fn held(since: Option<Timestamp>) -> String {
    match since {
        Some(since) => format!("nothing is accepted since {}", when_about(since)),
        None => "nothing is accepted".to_owned(),
    }
}

impl Output for Reloaded {
    fn noun(&self) -> &'static str {
        "reload"
    }

    fn json(self) -> impl Serialize {
        OfReload::from(self)
    }

    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        write_reloaded(out, &self, style)
    }
}

#[derive(Serialize)]
struct OfReload {
    players: u32,
    added: u32,
    removed: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployments: Option<OfChanges>,
    closed: u32,
    /// Only outcomes that are news.
    services: Vec<OfFileOutcome>,
}

#[derive(Serialize)]
struct OfChanges {
    now: u32,
    added: u32,
    changed: u32,
    removed: u32,
}

impl From<Reloaded> for OfReload {
    fn from(reloaded: Reloaded) -> Self {
        let Reloaded { players, added, removed, deployments, closed, services } = reloaded;
        let deployments = deployments.map(OfChanges::from);
        let services = services.into_iter().map(OfFileOutcome::from).collect();
        Self { players, added, removed, deployments, closed, services }
    }
}

#[derive(Serialize)]
struct OfFileOutcome {
    file: String,
    service: String,
    version: u64,
    change: &'static str,
}

impl From<FileOutcome> for OfFileOutcome {
    fn from(outcome: FileOutcome) -> Self {
        let FileOutcome { file, service, version, change } = outcome;
        let (file, service) = (file.to_string(), service.to_string());
        Self { file, service, version: version.0, change: change.as_str() }
    }
}

impl From<DeploymentChanges> for OfChanges {
    fn from(changes: DeploymentChanges) -> Self {
        let DeploymentChanges { now, added, changed, removed } = changes;
        Self { now, added, changed, removed }
    }
}

fn write_reloaded(out: &mut dyn Page, reloaded: &Reloaded, style: Style) -> io::Result<()> {
    let Reloaded { players, added, removed, deployments, closed, services } = reloaded;
    write!(out, "reloaded: {players} players, {added} added, {removed} removed")?;
    if let Some(DeploymentChanges { now, added, changed, removed }) = deployments {
        write!(out, "; {now} deployments, {added} added, {changed} changed, {removed} removed")?;
    }
    if *closed > 0 {
        write!(out, "; {closed} connections closed, whose certificates are no longer accepted")?;
    }
    writeln!(out)?;
    services.iter().try_for_each(|outcome| write_file(out, outcome, style))
}

/// `services.d/web.yaml: service web, version 7`.
fn write_file(out: &mut dyn Page, outcome: &FileOutcome, style: Style) -> io::Result<()> {
    let FileOutcome { file, service, version, change } = outcome;
    let file = one_line(file);
    match change {
        FileChange::Applied => writeln!(out, "{file}: service {service}, version {version}"),
        FileChange::Owns => {
            writeln!(out, "{file}: service {service} belongs to it, version {version} as it is")
        }
        FileChange::Gone => {
            let text = format!("{file}: file gone, service {service} runs on");
            let text = style.warning(&text);
            writeln!(out, "{text}; to end it: orc service remove {service}")
        }
    }
}

impl Output for RecoveredStore {
    fn noun(&self) -> &'static str {
        "recover"
    }

    fn json(self) -> impl Serialize {
        OfRecovery { term: self.term, next_flow: self.next_flow }
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        writeln!(out, "recovered: term {}, the next flow is {}", self.term, self.next_flow)
    }
}

#[derive(Serialize)]
struct OfRecovery {
    term: u64,
    next_flow: u64,
}

impl Output for RecoveryPlan {
    fn noun(&self) -> &'static str {
        "recover"
    }

    fn json(self) -> impl Serialize {
        OfRecoveryPlan::from(self)
    }

    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        write_recovery_plan(out, self, style)
    }
}

#[derive(Serialize)]
struct OfRecoveryPlan {
    store_id: String,
    stale_store: Option<String>,
    term: u64,
    next_flow: u64,
    attached: u32,
    quarantined: u32,
}

impl From<RecoveryPlan> for OfRecoveryPlan {
    fn from(plan: RecoveryPlan) -> Self {
        let RecoveryPlan { store_id, stale_store, term, next_flow, attached, quarantined } = plan;
        Self { store_id, stale_store, term, next_flow, attached, quarantined }
    }
}

fn write_recovery_plan(
    out: &mut dyn io::Write,
    plan: RecoveryPlan,
    style: Style,
) -> io::Result<()> {
    let RecoveryPlan { store_id, stale_store, term, next_flow, attached, quarantined } = plan;
    let store_id = one_line(&store_id);
    match stale_store {
        Some(why) => {
            writeln!(out, "store {store_id} counts as an old copy: {}", one_line(&why))?;
        }
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
