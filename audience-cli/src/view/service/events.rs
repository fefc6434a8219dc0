//! What happened to a service last.

use std::io;

use orchestra_model::service::ServiceEvent;

use crate::view::{Page, Style, one_line, when_about};

/// Writes events, oldest first.
pub(super) fn write(out: &mut dyn Page, events: &[ServiceEvent], style: Style) -> io::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    writeln!(out, "events:")?;
    events.iter().try_for_each(|event| writeln!(out, "  {}", line(event, style)))
}

/// `2025-11-21T08:00:00Z update to version 7 by alice, flow 42 failed: 1 of the version`.
fn line(event: &ServiceEvent, style: Style) -> String {
    let ServiceEvent { at, cause, by, version, flow, ended, note } = event;
    let mut text = format!("{} {cause}, version {version}", when_about(*at));
    if ended.is_none() {
        text += &format!(", by {by}");
    }
    if let Some(flow) = flow {
        text += &format!(", flow {flow}");
    }
    if let Some(ended) = ended {
        text += &format!(" {}", style.flow(*ended));
    }
    if let Some(note) = note {
        text += &format!(": {}", one_line(note));
    }
    text
}
