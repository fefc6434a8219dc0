//! Reads audit lines: who did what.

use orchestra_model::{
    audit::{Asker, AuditEntry, AuditMark, AuditRecord, ChainBreak, ChainReport, Deed, Object},
    ids::FlowId,
    names::{HostName, ServiceName},
    time::Timestamp,
};
use orchestra_proto::{Invalid, mac_from_wire, mac_to_wire, v1};

use crate::{
    Client, Pages,
    client::{answered, invalid},
    failure::Failure,
    pages::ListPage,
};

/// Which audit lines are wanted.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Only lines of this subject.
    pub by: Option<String>,
    /// Only lines with this word for what was asked for, or happened.
    pub verb: Option<String>,
    /// Only lines with this word for what came of it.
    pub outcome: Option<String>,
    /// Only lines from this moment on, in milliseconds since the epoch.
    pub since_ms: u64,
    /// Only lines about this host, or about a flow that names it.
    pub host: Option<HostName>,
    /// Most lines; 0 stands for 100.
    pub limit: u32,
    /// Oldest first, above this number; `None` for newest first.
    pub after: Option<u64>,
}

impl Client {
    /// Lists audit lines, newest first.
    pub async fn audit(&mut self, query: AuditQuery) -> Result<Pages<v1::AuditPage>, Failure> {
        let what = "asking who did what".to_owned();
        let AuditQuery { by, verb, outcome, since_ms, host, limit, after } = query;
        let request = v1::ListAuditRequest {
            by: by.unwrap_or_default(),
            verb: verb.unwrap_or_default(),
            since_ms,
            host: host.map(|host| host.to_string()).unwrap_or_default(),
            limit,
            outcome: outcome.unwrap_or_default(),
            oldest_first: after.is_some(),
            after: after.unwrap_or_default(),
        };
        let stream = answered(&what, self.rpc.list_audit(request)).await?;
        Ok(Pages::new(stream, what))
    }

    /// Has the conductor look whether the record of who did what is as it was written. `mark` is a line
    /// that was there.
    pub async fn verify_audit(&mut self, mark: Option<AuditMark>) -> Result<ChainReport, Failure> {
        let what = "verifying the record of who did what";
        let mark = mark.unwrap_or_default();
        let link = mark.link.map(mac_to_wire).unwrap_or_default();
        let request = v1::VerifyAuditRequest { number: mark.number, link };
        let answer = answered(what, self.rpc.verify_audit(request)).await?;
        report(answer).map_err(|error| invalid(what, error))
    }
}

fn report(answer: v1::VerifyAuditResponse) -> Result<ChainReport, Invalid> {
    let found = |found: v1::AuditBreak| {
        ChainBreak::from_parts(&found.kind, found.from, found.to)
            .ok_or_else(|| Invalid::field("AuditBreak.kind"))
    };
    let link = mac_from_wire(&answer.link, "VerifyAuditResponse.link")?;
    Ok(ChainReport {
        lines: answer.lines,
        unlinked: answer.unlinked,
        first: answer.first,
        head: AuditMark { number: answer.last, link },
        breaks: answer.breaks.into_iter().map(found).collect::<Result<_, _>>()?,
        further: answer.further,
    })
}

impl ListPage for v1::AuditPage {
    type Item = AuditRecord;

    fn items(self) -> Result<Vec<AuditRecord>, Invalid> {
        self.lines.into_iter().map(line).collect()
    }
}

fn line(line: v1::AuditLine) -> Result<AuditRecord, Invalid> {
    let field = Invalid::field;
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    let on = if line.flow != 0 {
        Object::Flow(FlowId(line.flow))
    } else if let Some(service) = given(line.service) {
        Object::Service(ServiceName::new(&service).map_err(|_| field("AuditLine.service"))?)
    } else if let Some(hosts) = given(line.hosts) {
        Object::Hosts(hosts.into())
    } else if let Some(file) = given(line.file) {
        Object::File(file.into())
    } else if let Some(peer) = given(line.peer) {
        Object::Peer(peer.into())
    } else if line.lines != 0 {
        Object::Lines(line.lines)
    } else {
        Object::Conductor
    };
    let deed = Deed::from_words(&line.verb, &line.outcome);
    let entry = AuditEntry {
        by: Asker::from_word(&line.by).map_err(|_| field("AuditLine.by"))?,
        deed: deed.ok_or_else(|| field("AuditLine.verb"))?,
        on,
        reason: given(line.reason).map(Into::into),
        answer: line.answer.into(),
        rule: given(line.rule).map(Into::into),
        times: line.times.max(1),
    };
    let link = mac_from_wire(&line.link, "AuditLine.link")?;
    Ok(AuditRecord { number: line.number, at: Timestamp(line.at_ms), entry, link })
}
