//! Who did what, and whether the record of that is as it was written.

use orchestra_model::{
    AudienceName, HostName, HostSet, Timestamp,
    audit::{AuditMark, AuditRecord, ChainCheck, ChainReport, Object},
    hostset::NoGroups,
    policy::Right,
};
use orchestra_policy::What;
use orchestra_store::Reader;

use super::{Desk, Recipient, Stopped};
use crate::{
    declined::Declined,
    driver::Request as Ask,
    history::{self, HistoryError},
};

/// Most lines that are read at once from the store.
const PAGE: usize = 500;

/// Which lines are wanted.
#[derive(Clone, Debug)]
pub(crate) struct AuditFilter {
    /// Only lines of this subject, as it is printed.
    pub(crate) by: Option<String>,
    /// Only lines with this word for what was asked for, or happened.
    pub(crate) verb: Option<String>,
    /// Only lines with this word for what came of it.
    pub(crate) outcome: Option<String>,
    pub(crate) since: Timestamp,
    /// Only lines about this host.
    pub(crate) host: Option<HostName>,
    /// Most lines that are listed.
    pub(crate) most: u32,
    /// Oldest first, above this number; `None` for newest first.
    pub(crate) after: Option<u64>,
}

impl AuditFilter {
    /// Returns whether a line is wanted, as far as the line itself tells.
    fn takes(&self, line: &AuditRecord) -> bool {
        let is = |wanted: &Option<String>, word: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == word)
        };
        is(&self.by, line.entry.by.as_str())
            && is(&self.verb, line.entry.deed.as_str())
            && is(&self.outcome, line.entry.deed.outcome())
    }

    /// Returns whether a line is about the wanted host: it names that host, or is about a flow that
    /// has it. A flow that was pruned is not found.
    fn is_about(&self, reader: &dyn Reader, line: &AuditRecord) -> Result<bool, HistoryError> {
        let Some(host) = &self.host else { return Ok(true) };
        let holds = |folded: &str| {
            HostSet::parse(folded, &NoGroups).is_ok_and(|hosts| hosts.contains(host))
        };
        Ok(match &line.entry.on {
            Object::Conductor
            | Object::Service(_)
            | Object::File(_)
            | Object::Peer(_)
            | Object::Lines(_) => false,
            Object::Hosts(hosts) => holds(hosts),
            Object::Flow(flow) => {
                for job in reader.jobs(*flow)? {
                    if history::targets(reader, job.id)?.contains(host) {
                        return Ok(true);
                    }
                }
                false
            }
        })
    }
}

/// Lines of one look at the store.
struct Look {
    lines: Vec<AuditRecord>,
    /// Where the next look goes on; `None` if there are no more lines.
    next: Option<u64>,
}

impl Desk {
    /// Gives the wanted lines.
    pub(crate) async fn list_audit(
        &self,
        wanted: AuditFilter,
        by: &AudienceName,
        to: &impl Recipient<Vec<AuditRecord>>,
    ) -> Result<(), Stopped> {
        self.check_right(by, Right::ReadAudit, What::Conductor, None)?;
        let mut left = wanted.most as usize;
        let mut from = wanted.after;
        loop {
            let asked = wanted.clone();
            let Look { lines, next } =
                self.read(move |reader| look(reader, &asked, from, left)).await?;
            left -= lines.len();
            to.give(lines).await?;
            match next {
                Some(_) if left > 0 && !to.is_gone() => from = next,
                _ => return Ok(()),
            }
        }
    }

    /// Looks whether the record is as it was written. `mark` is a line that the asker knows.
    pub(crate) async fn verify_audit(
        &self,
        mark: Option<AuditMark>,
        by: &AudienceName,
    ) -> Result<ChainReport, Declined> {
        self.check_right(by, Right::ReadAudit, What::Conductor, None)?;
        // What the driver has written is known to it, whatever the store says of itself.
        let head = self.ask(Ask::AuditHead).await?;
        let mut check: Option<ChainCheck> = None;
        loop {
            let (keys, begun) = (self.facts.proofs.keys(), check.take());
            let marks: Vec<AuditMark> = mark.into_iter().chain([head]).collect();
            // A reader a page, so that the log of the store does not grow meanwhile.
            let read = move |reader: &dyn Reader| {
                let base = reader.audit_base()?;
                let mut check = match begun {
                    Some(check) => check,
                    None => {
                        let stored = reader.audit_head()?;
                        ChainCheck::new(base, marks.into_iter().chain([stored]).collect())
                    }
                };
                check.rebase(base);
                let lines = reader.audit_after(check.last(), PAGE)?;
                for line in &lines {
                    check.line(line, |before, bytes, link| keys.confirms_link(before, bytes, link));
                }
                Ok::<_, HistoryError>((check, lines.len() < PAGE))
            };
            match self.read(read).await? {
                (done, true) => return Ok(done.finish()),
                (more, false) => check = Some(more),
            }
        }
    }
}

/// Returns the wanted lines of a page, which begins before or after a number.
fn look(
    reader: &dyn Reader,
    wanted: &AuditFilter,
    from: Option<u64>,
    most: usize,
) -> Result<Look, HistoryError> {
    let page = match wanted.after {
        None => reader.audit(PAGE, from)?,
        Some(_) => reader.audit_after(from.unwrap_or_default(), PAGE)?,
    };
    let is_last = page.len() < PAGE;
    let mut look = Look { lines: Vec::new(), next: None };
    for line in page {
        look.next = Some(line.number);
        // Lines are in the order of writing. Their times may not be, if the clock was set back.
        if line.at < wanted.since {
            continue;
        }
        if wanted.takes(&line) && wanted.is_about(reader, &line)? {
            look.lines.push(line);
            if look.lines.len() == most {
                return Ok(look);
            }
        }
    }
    if is_last {
        look.next = None;
    }
    Ok(look)
}
