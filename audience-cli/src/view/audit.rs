//! Audit lines: who did what.

use std::io;

use orchestra_model::audit::{AuditEntry, AuditJson, AuditRecord, ChainReport};
use serde::Serialize;

use super::{Listing, Output, Page, Style, one_line, when, when_about};

/// Audit lines, newest first.
pub(crate) struct Lines;

impl Listing for Lines {
    type Item = AuditRecord;

    const NOUN: &'static str = "audit";

    fn json(&self, line: &AuditRecord) -> impl Serialize {
        AuditJson::new(line, when(line.at))
    }

    /// `17 2026-11-21T08:00:00Z alice drain db[1-3]: 3 hosts, 0 orders out (new disk) [web]`.
    fn text(&self, line: &AuditRecord, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        let AuditEntry { by, deed, on, reason, answer, rule, times } = &line.entry;
        let (number, at, on) = (line.number, when_about(line.at), one_line(&on.to_string()));
        write!(out, "{number} {at} {by} {deed} {on}: {}", one_line(answer))?;
        if let Some(reason) = reason {
            write!(out, " ({})", one_line(reason))?;
        }
        if let Some(rule) = rule {
            write!(out, " [{}]", one_line(rule))?;
        }
        match times {
            1 => writeln!(out),
            times => writeln!(out, " {times} times"),
        }
    }

    fn remark(&self, told: usize) -> Option<String> {
        (told == 0).then(|| "nothing like that is on record".to_owned())
    }
}

/// Whether the record is as it was written.
pub(crate) struct Report(pub(crate) ChainReport);

impl Output for Report {
    fn noun(&self) -> &'static str {
        "verified"
    }

    fn json(self) -> impl Serialize {
        #[derive(Serialize)]
        struct Break {
            kind: &'static str,
            from: u64,
            to: u64,
        }
        #[derive(Serialize)]
        struct Document {
            whole: bool,
            lines: u64,
            unlinked: u64,
            first: u64,
            last: u64,
            breaks: Vec<Break>,
            further: u64,
        }
        let Self(report) = self;
        let breaks = report.breaks.iter().map(|found| {
            let (kind, from, to) = found.to_parts();
            Break { kind, from, to }
        });
        Document {
            whole: report.is_whole(),
            lines: report.lines,
            unlinked: report.unlinked,
            first: report.first,
            last: report.head.number,
            breaks: breaks.collect(),
            further: report.further,
        }
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        let Self(report) = self;
        for found in &report.breaks {
            writeln!(out, "{found}")?;
        }
        if report.further > 0 {
            writeln!(out, "and {} more", report.further)?;
        }
        let (first, last) = (report.first, report.head.number);
        let state = if report.is_whole() { "whole" } else { "not whole" };
        match report.lines {
            0 => write!(out, "{state}: there are no lines")?,
            lines => write!(out, "{state}: {lines} lines, {first} to {last}")?,
        }
        match report.unlinked {
            0 => writeln!(out),
            unlinked => writeln!(
                out,
                "; {unlinked} of them are of an earlier release, and nothing shows whether they were changed"
            ),
        }
    }
}
