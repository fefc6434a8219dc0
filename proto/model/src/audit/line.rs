//! A line of the record of who did what.

use std::{fmt, sync::Arc};

use super::{Asker, AuditMark, Deed};
use crate::{hex, ids::FlowId, names::ServiceName, proof::Mac, time::Timestamp};

/// What a line is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A flow.
    Flow(FlowId),
    /// Hosts, as a folded host set.
    Hosts(Arc<str>),
    /// A service.
    Service(ServiceName),
    /// A file, or a directory of files, of the configuration.
    File(Arc<str>),
    /// Who connected, or from where.
    Peer(Arc<str>),
    /// Lines of this record, up to a number.
    Lines(u64),
    /// The conductor as a whole.
    Conductor,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flow(flow) => write!(f, "flow {flow}"),
            Self::Hosts(text) | Self::File(text) | Self::Peer(text) => f.write_str(text),
            Self::Service(service) => write!(f, "service {service}"),
            Self::Lines(number) => write!(f, "lines up to {number}"),
            Self::Conductor => f.write_str("conductor"),
        }
    }
}

/// What a line tells, before it has a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Who asked.
    pub by: Asker,
    /// For what, or what happened.
    pub deed: Deed,
    /// On what.
    pub on: Object,
    /// Why, where it was asked for with a reason.
    pub reason: Option<Arc<str>>,
    /// What came of it, in a few words.
    pub answer: Arc<str>,
    /// The rules of the policy by which it was allowed, by name; `None` where no policy decided.
    pub rule: Option<Arc<str>>,
    /// How often it was so; 1 unless lines of one kind were counted.
    pub times: u64,
}

impl AuditEntry {
    /// Returns an entry without a reason and without a rule, of something that was so once.
    pub fn new(by: Asker, deed: Deed, on: Object, answer: impl Into<Arc<str>>) -> Self {
        Self { by, deed, on, reason: None, answer: answer.into(), rule: None, times: 1 }
    }
}

/// A line of the record of who did what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number: 1, 2, 3 and so on, without a gap, for the life of the store.
    pub number: u64,
    pub at: Timestamp,
    pub entry: AuditEntry,
    /// A code over the link of the line before and over this line, which only who holds the store's
    /// proof key can make; `None` in lines of earlier releases, and where there was no key.
    pub link: Option<Mac>,
}

impl AuditRecord {
    /// Returns its number and its link.
    pub fn mark(&self) -> AuditMark {
        AuditMark { number: self.number, link: self.link }
    }

    /// Returns what its link is made over, beside the link of the line before. Each field has its
    /// length before it, so that no two lines have the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { number, at, entry, link: _ } = self;
        let AuditEntry { by, deed, on, reason, answer, rule, times } = entry;
        let kind: u8 = match on {
            Object::Flow(_) => 1,
            Object::Hosts(_) => 2,
            Object::Service(_) => 3,
            Object::File(_) => 4,
            Object::Peer(_) => 5,
            Object::Lines(_) => 6,
            Object::Conductor => 7,
        };
        let mut bytes = Vec::with_capacity(256);
        for part in [*number, at.0, *times, u64::from(kind)] {
            bytes.extend_from_slice(&part.to_le_bytes());
        }
        let mut text = |text: &str| {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        };
        [by.as_str(), deed.as_str(), deed.outcome(), &on.to_string(), answer]
            .into_iter()
            .for_each(&mut text);
        // A missing text is told from an empty one by how many there are.
        for optional in [reason, rule] {
            text(if optional.is_some() { "+" } else { "-" });
            text(optional.as_deref().unwrap_or_default());
        }
        bytes
    }
}

/// A line as programs read it.
#[derive(Debug, serde::Serialize)]
pub struct AuditJson<'a> {
    number: u64,
    /// RFC 3339.
    at: String,
    by: &'a str,
    verb: &'static str,
    outcome: &'static str,
    flow: Option<u64>,
    hosts: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<u64>,
    reason: Option<&'a str>,
    answer: &'a str,
    rule: Option<&'a str>,
    times: u64,
    /// In hexadecimal.
    link: Option<String>,
}

impl<'a> AuditJson<'a> {
    /// Returns a line as programs read it, with its moment in RFC 3339.
    pub fn new(line: &'a AuditRecord, at: String) -> Self {
        let AuditEntry { by, deed, on, reason, answer, rule, times } = &line.entry;
        let mut json = Self {
            number: line.number,
            at,
            by: by.as_str(),
            verb: deed.as_str(),
            outcome: deed.outcome(),
            flow: None,
            hosts: None,
            service: None,
            file: None,
            peer: None,
            lines: None,
            reason: reason.as_deref(),
            answer,
            rule: rule.as_deref(),
            times: *times,
            link: line.link.map(|link| hex(&link.0)),
        };
        match on {
            Object::Flow(flow) => json.flow = Some(flow.0),
            Object::Hosts(hosts) => json.hosts = Some(hosts),
            Object::Service(service) => json.service = Some(service.as_str()),
            Object::File(file) => json.file = Some(file),
            Object::Peer(peer) => json.peer = Some(peer),
            Object::Lines(number) => json.lines = Some(*number),
            Object::Conductor => {}
        }
        json
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{audit::Verb, policy::Right};

    #[test]
    fn lines_that_differ_have_other_bytes() {
        let entry =
            |on, answer: &str| AuditEntry::new(Asker::Local, Deed::Done(Verb::Drain), on, answer);
        let plain = entry(Object::Conductor, "done");
        let text = |text: &str| Some(Arc::from(text));
        let entries = [
            plain.clone(),
            entry(Object::Conductor, "donee"),
            entry(Object::Hosts("conductor".into()), "done"),
            entry(Object::File("conductor".into()), "done"),
            entry(Object::Peer("conductor".into()), "done"),
            entry(Object::Flow(FlowId(1)), "done"),
            entry(Object::Lines(1), "done"),
            AuditEntry { reason: text(""), ..plain.clone() },
            AuditEntry { rule: text(""), ..plain.clone() },
            AuditEntry { reason: text("x"), ..plain.clone() },
            AuditEntry { rule: text("x"), ..plain.clone() },
            AuditEntry { times: 2, ..plain.clone() },
            AuditEntry { by: Asker::Keeper, ..plain.clone() },
            AuditEntry { deed: Deed::Failed(Verb::Drain), ..plain.clone() },
            AuditEntry { deed: Deed::Denied(Right::Do(Verb::Drain)), ..plain },
        ];
        let lines = entries.iter().flat_map(|entry| {
            [(1, 1), (1, 2), (2, 1)].map(|(number, at)| AuditRecord {
                number,
                at: Timestamp(at),
                entry: entry.clone(),
                link: None,
            })
        });
        let bytes: BTreeSet<Vec<u8>> = lines.map(|line| line.to_bytes()).collect();
        assert_eq!(bytes.len(), 3 * entries.len());
    }
}
