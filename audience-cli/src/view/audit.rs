//! Audit lines: who did what.

use std::io;

use orchestra_model::audit::{AuditRecord, Object};
use serde::Serialize;

use super::{Listing, Page, Style, one_line, when, when_about};

/// Audit lines, newest first.
pub(crate) struct Lines;

impl Listing for Lines {
    type Item = AuditRecord;

    const NOUN: &'static str = "audit";

    fn json(&self, line: &AuditRecord) -> impl Serialize {
        let (flow, hosts, service) = match &line.on {
            Object::Flow(flow) => (Some(flow.0), None, None),
            Object::Hosts(hosts) => (None, Some(hosts.to_string()), None),
            Object::Service(service) => (None, None, Some(service.to_string())),
            Object::Conductor => (None, None, None),
        };
        Line {
            number: line.number,
            at: when(line.at),
            by: line.by.to_string(),
            verb: line.verb.as_str(),
            flow,
            hosts,
            service,
            reason: line.reason.as_deref().map(str::to_owned),
            answer: line.answer.to_string(),
        }
    }

    /// `17 2026-11-21T08:00:00Z alice drain db[1-3]: 3 hosts, 0 orders out (new disk)`.
    fn text(&self, line: &AuditRecord, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        let AuditRecord { number, at, by, verb, on, reason, answer } = line;
        let on = one_line(&on.to_string());
        write!(out, "{number} {} {by} {verb} {on}: {}", when_about(*at), one_line(answer))?;
        match reason {
            Some(reason) => writeln!(out, " ({})", one_line(reason)),
            None => writeln!(out),
        }
    }

    fn remark(&self, told: usize) -> Option<String> {
        (told == 0).then(|| "nothing like that is on record".to_owned())
    }
}

#[derive(Serialize)]
struct Line {
    number: u64,
    at: String,
    by: String,
    verb: &'static str,
    flow: Option<u64>,
    hosts: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    reason: Option<String>,
    answer: String,
}
