//! One service: what is wrong first, then what is wanted, instances, and what happened.

use std::io;

use orchestra_client::{ServiceState, ready_hosts, wanted_hosts};
use orchestra_model::{
    ServiceName,
    service::{Change, FileStanding, LivingChange, ServiceFile, ServiceRecord, ServiceStatus},
};
use serde::Serialize;

use super::{events, instances, json, obstacles};
use crate::view::{Output, Page, Style, one_line, when_about};

/// One service, as `orc service show` shows it.
pub(crate) struct Shown<'a>(pub(crate) &'a ServiceStatus);

impl Output for Shown<'_> {
    fn noun(&self) -> &'static str {
        "service"
    }

    fn json(self) -> impl Serialize {
        json::Whole::from(self.0)
    }

    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        let status = self.0;
        first_line(out, status, style)?;
        wrong(out, status, style)?;
        wanted(out, status)?;
        instances::write(out, status, style)?;
        events::write(out, &status.record.events, style)
    }
}

/// One service after waiting for it; a person was told the outcome already.
pub(crate) struct Standing<'a>(pub(crate) &'a ServiceStatus);

impl Output for Standing<'_> {
    fn noun(&self) -> &'static str {
        "service"
    }

    fn json(self) -> impl Serialize {
        json::Whole::from(self.0)
    }

    fn text(self, _out: &mut dyn Page, _style: Style) -> io::Result<()> {
        Ok(())
    }
}

/// `web version 7: degraded, ready on 9 of 10 hosts`.
fn first_line(out: &mut dyn Page, status: &ServiceStatus, style: Style) -> io::Result<()> {
    let ServiceRecord { name, version, layout, .. } = &status.record;
    let state = style.service(ServiceState::of(status));
    let ready = ready_hosts(status);
    let wanted = wanted_hosts(status);
    let what = if layout.is_some() { "instances" } else { "hosts" };
    writeln!(out, "{name} version {version}: {state}, ready on {ready} of {wanted} {what}")
}

/// Writes what a person should see at once.
fn wrong(out: &mut dyn Page, status: &ServiceStatus, style: Style) -> io::Result<()> {
    let name = &status.record.name;
    if let Some(trouble) = &status.trouble {
        writeln!(out, "{}", style.warning(&format!("trouble: {}", one_line(trouble))))?;
    }
    if let Some(suspicion) = &status.record.judged.suspicion {
        let text = format!("suspicious: {suspicion}");
        let text = style.warning(&text);
        let what = "no unit is restarted or withdrawn for its health";
        writeln!(out, "{text}: {what}; to believe them: orc brake release {name}")?;
        if let Some((host, at)) = &suspicion.tried {
            writeln!(out, "restarted to find out whether that helps: {host}, {}", when_about(*at))?;
        }
    }
    if !status.given_up.is_empty() {
        let text = format!("given up: {}", status.given_up.counted());
        let text = style.warning(&text);
        writeln!(out, "{text}; to try again: orc service resume {name}")?;
    }
    let drifted = status.drifted();
    if !drifted.is_empty() {
        let text = style.warning(&format!("drifted: {}", drifted.counted())).to_string();
        let wanted =
            status.score_hash.map_or_else(String::new, |hash| format!(" ({})", hash.short()));
        let what = format!("another {} runs there than its version's{wanted}", status.record.score);
        writeln!(out, "{text}: {what}; to take what is installed: orc service restart {name}")?;
    }
    if !status.strangers.is_empty() {
        let text = format!(
            "strangers, units that this store never ordered: {}",
            status.strangers.counted()
        );
        let text = style.warning(&text);
        let end = format!("to end them: orc service stop-stranger {name}");
        writeln!(out, "{text}; to take them over: orc service adopt {name}; {end}")?;
    }
    for waiting in &status.waiting {
        writeln!(out, "{}", style.warning(&waiting.to_string()))?;
    }
    if !status.unplaced.is_empty() {
        writeln!(out, "no instance yet: {}", status.unplaced.counted())?;
    }
    if let Some(text) = status.record.file.as_ref().and_then(astray) {
        let text = style.warning(&text);
        writeln!(out, "{text}; {}", remedy(&status.record))?;
    }
    if let Some(by) = &status.record.paused_by {
        let text = format!("paused by {by}: nothing voluntary is done");
        writeln!(out, "{}; to go on: orc service resume {name}", style.warning(&text))?;
    }
    obstacles::write(out, status)
}

/// Says that the service had a file that does not say any more what it is to be.
fn astray(file: &ServiceFile) -> Option<String> {
    let name = one_line(&file.name);
    match file.standing {
        FileStanding::InForce => None,
        FileStanding::Gone => Some(format!("file gone: {name}; it runs on as it was")),
        FileStanding::TakenOver => {
            Some(format!("taken over from {name}, which counts for nothing"))
        }
    }
}

/// Says what to do about such a file.
fn remedy(record: &ServiceRecord) -> String {
    match record.file.as_ref().is_some_and(ServiceFile::owns) {
        true => format!("to end it: orc service remove {}", record.name),
        false => "to give it back: orc conductor reload --take-over".to_owned(),
    }
}

/// Writes what is wanted of the service, and what is done for that.
fn wanted(out: &mut dyn Page, status: &ServiceStatus) -> io::Result<()> {
    let record = &status.record;
    let stable = match record.stable {
        Some(version) => format!("stable: version {version}"),
        None => "stable: none yet".to_owned(),
    };
    writeln!(out, "goal: {}, {stable}", record.goal)?;
    writeln!(out, "score: {}, owner: {}", record.score, record.owner)?;
    if let Some(ServiceFile { name, standing: FileStanding::InForce, .. }) = &record.file {
        writeln!(out, "file: {}", one_line(name))?;
    }
    if let Some(layout) = &record.layout {
        let surged = record.surged.as_ref();
        let surged = surged.map_or_else(String::new, |it| format!(" ({it} while a version comes)"));
        writeln!(out, "instances wanted: {layout}{surged}")?;
    }
    if !record.hosts.is_empty() {
        writeln!(out, "hosts: {}", record.hosts.counted())?;
    }
    if !status.uncleaned.is_empty() {
        writeln!(out, "not cleaned up yet: {}", status.uncleaned.counted())?;
    }
    if let Some(Change { cause, by, hosts, signal: _, with }) = &record.pending {
        let on = hosts.as_ref().map_or_else(String::new, |it| format!(" on {}", it.counted()));
        let with: Vec<&str> = with.iter().map(ServiceName::as_str).collect();
        let with = match with.is_empty() {
            true => String::new(),
            false => format!(" together with {}", with.join(", ")),
        };
        writeln!(out, "asked for: {cause} by {by}{on}{with}, no flow was made for it yet")?;
    }
    if let Some(LivingChange { flow, cause, by, version, superseded }) = &record.living {
        let ending = if *superseded { ", which ends: something newer is wanted" } else { "" };
        let what = format!("{cause} to version {version} by {by}{ending}");
        writeln!(out, "flow: {flow}, {what} (orc explain {flow})")?;
    }
    if let Some(LivingChange { flow, .. }) = &record.relief {
        let what = "restarts what is unhealthy and that flow is done with";
        writeln!(out, "beside it: {flow}, {what} (orc explain {flow})")?;
    }
    Ok(())
}
