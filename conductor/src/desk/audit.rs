//! `orc audit`: who did what, newest first.

use orchestra_model::{
    HostName, HostSet, Timestamp,
    audit::{AuditRecord, Object, Verb},
    hostset::NoGroups,
};
use orchestra_proto::v1;
use orchestra_store::Reader;

use super::{Desk, Sender, listing::cut};
use crate::declined::{Declined, Ground};
use crate::history::{self, HistoryError};

/// Lines that are looked at with one question to the store.
const PAGE: usize = 500;
/// Lines that are listed where nobody says how many.
const LINES: u32 = 100;
/// Longest folded host set of one line, in bytes: a page has room for it.
const HOSTS_BYTES: usize = 64 << 10;

/// Which lines are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    by: Option<String>,
    verb: Option<Verb>,
    since: Timestamp,
    host: Option<HostName>,
    most: u32,
}

impl Wanted {
    pub(crate) fn read(request: v1::ListAuditRequest) -> Result<Self, Declined> {
        let v1::ListAuditRequest { by, verb, since_ms, host, limit } = request;
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let verb = given(verb).map(|word| {
            Verb::from_word(&word).ok_or_else(|| {
                let verbs: Vec<&str> = Verb::ALL.iter().map(|verb| verb.as_str()).collect();
                Declined::new(
                    Ground::Invalid,
                    format!(
                        "no verb is called {:?}; there are {}",
                        word.chars().take(60).collect::<String>(),
                        verbs.join(", ")
                    ),
                )
            })
        });
        let host =
            given(host).map(|name| HostName::new(&name).map_err(|error| Declined::invalid(&error)));
        Ok(Self {
            by: given(by),
            verb: verb.transpose()?,
            since: Timestamp(since_ms),
            host: host.transpose()?,
            most: if limit == 0 { LINES } else { limit },
        })
    }

    /// Whether a line is one of these, as far as it says so itself.
    fn takes(&self, line: &AuditRecord) -> bool {
        self.by.as_ref().is_none_or(|by| *by == line.by.to_string())
            && self.verb.is_none_or(|verb| verb == line.verb)
    }

    /// Whether a line is about the host that is asked for: it names that host, or is about a flow that
    /// does. A flow that was pruned names nobody any more.
    fn is_about(&self, reader: &dyn Reader, line: &AuditRecord) -> Result<bool, HistoryError> {
        let Some(host) = &self.host else { return Ok(true) };
        let holds = |folded: &str| {
            HostSet::parse(folded, &NoGroups).is_ok_and(|hosts| hosts.contains(host))
        };
        Ok(match &line.on {
            Object::Conductor => false,
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
    lines: Vec<v1::AuditLine>,
    /// Where the next look goes on; `None`: there is nothing further back.
    before: Option<u64>,
}

impl Desk {
    pub(crate) async fn send_audit(
        self,
        wanted: Wanted,
        pages: Sender<v1::AuditPage>,
    ) -> Result<(), Declined> {
        let mut left = wanted.most as usize;
        let mut before = None;
        loop {
            let asked = wanted.clone();
            let Look { lines, before: next } =
                self.read(move |reader| look(reader, &asked, before, left)).await?;
            left -= lines.len();
            for lines in cut(lines.into_iter()) {
                if pages.send(Ok(v1::AuditPage { lines })).await.is_err() {
                    return Ok(());
                }
            }
            match next {
                Some(_) if left > 0 && !pages.is_closed() => before = next,
                _ => return Ok(()),
            }
        }
    }
}

fn look(
    reader: &dyn Reader,
    wanted: &Wanted,
    before: Option<u64>,
    most: usize,
) -> Result<Look, HistoryError> {
    let page = reader.audit(PAGE, before)?;
    let is_last = page.len() < PAGE;
    let mut look = Look { lines: Vec::new(), before: None };
    for line in page {
        // Numbers are in the order of writing; a clock that was set back may spoil that of times.
        if line.at < wanted.since {
            continue;
        }
        look.before = Some(line.number);
        if wanted.takes(&line) && wanted.is_about(reader, &line)? {
            look.lines.push(spell(line));
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

fn spell(line: AuditRecord) -> v1::AuditLine {
    let AuditRecord { number, at, by, verb, on, reason, answer } = line;
    let (flow, hosts) = match on {
        Object::Flow(flow) => (flow.0, String::new()),
        Object::Hosts(hosts) => (0, shortened(&hosts)),
        Object::Conductor => (0, String::new()),
    };
    v1::AuditLine {
        number,
        at_ms: at.0,
        by: by.to_string(),
        verb: verb.to_string(),
        flow,
        hosts,
        reason: reason.as_deref().unwrap_or_default().to_owned(),
        answer: answer.to_string(),
    }
}

/// A folded host set is ASCII.
fn shortened(hosts: &str) -> String {
    match hosts.get(..HOSTS_BYTES) {
        Some(beginning) => format!("{beginning}…"),
        None => hosts.to_owned(),
    }
}
