//! Who did what, newest first.

use orchestra_model::{
    AudienceName, HostName, HostSet, Timestamp,
    audit::{AuditRecord, Object, Verb},
    hostset::NoGroups,
    policy::Right,
};
use orchestra_policy::What;
use orchestra_store::Reader;

use super::{Desk, Recipient, Stopped};
use crate::history::{self, HistoryError};

/// Most lines that are read at once from the store.
const PAGE: usize = 500;

/// Which lines are wanted.
#[derive(Clone, Debug)]
pub(crate) struct AuditFilter {
    /// Only lines of this subject, as it is printed.
    pub(crate) by: Option<String>,
    pub(crate) verb: Option<Verb>,
    pub(crate) since: Timestamp,
    /// Only lines about this host.
    pub(crate) host: Option<HostName>,
    /// Most lines that are listed.
    pub(crate) most: u32,
}

impl AuditFilter {
    /// Returns whether a line is wanted, as far as the line itself tells.
    fn takes(&self, line: &AuditRecord) -> bool {
        self.by.as_ref().is_none_or(|by| *by == line.by.to_string())
            && self.verb.is_none_or(|verb| verb == line.verb)
    }

    /// Returns whether a line is about the wanted host: it names that host, or is about a flow that
    /// has it. A flow that was pruned is not found.
    fn is_about(&self, reader: &dyn Reader, line: &AuditRecord) -> Result<bool, HistoryError> {
        let Some(host) = &self.host else { return Ok(true) };
        let holds = |folded: &str| {
            HostSet::parse(folded, &NoGroups).is_ok_and(|hosts| hosts.contains(host))
        };
        Ok(match &line.on {
            Object::Conductor | Object::Service(_) => false,
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
    /// Where the next look goes on; `None` if there are no older lines.
    before: Option<u64>,
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
        let mut before = None;
        loop {
            let asked = wanted.clone();
            let Look { lines, before: next } =
                self.read(move |reader| look(reader, &asked, before, left)).await?;
            left -= lines.len();
            to.give(lines).await?;
            match next {
                Some(_) if left > 0 && !to.is_gone() => before = next,
                _ => return Ok(()),
            }
        }
    }
}

fn look(
    reader: &dyn Reader,
    wanted: &AuditFilter,
    before: Option<u64>,
    most: usize,
) -> Result<Look, HistoryError> {
    let page = reader.audit(PAGE, before)?;
    let is_last = page.len() < PAGE;
    let mut look = Look { lines: Vec::new(), before: None };
    for line in page {
        // Lines are in the order of writing. Their times may not be, if the clock was set back.
        if line.at < wanted.since {
            continue;
        }
        look.before = Some(line.number);
        if wanted.takes(&line) && wanted.is_about(reader, &line)? {
            look.lines.push(line);
            if look.lines.len() == most {
                return Ok(look);
            }
        }
    }
    if is_last {
        look.before = None;
    }
    Ok(look)
}
