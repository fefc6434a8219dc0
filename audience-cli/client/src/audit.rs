//! Reads audit lines: who did what.

use orchestra_model::{
    audit::{Asker, AuditRecord, Object, Verb},
    ids::FlowId,
    names::{HostName, ServiceName},
    time::Timestamp,
};
use orchestra_proto::{Invalid, v1};

use crate::{Client, Pages, client::answered, failure::Failure, pages::ListPage};

/// Which audit lines are wanted.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Only lines of this subject.
    pub by: Option<String>,
    /// Only lines of this verb.
    pub verb: Option<Verb>,
    /// Only lines from this moment on, in milliseconds since the epoch.
    pub since_ms: u64,
    /// Only lines about this host, or about a flow that names it.
    pub host: Option<HostName>,
    /// Most lines; 0 stands for 100.
    pub limit: u32,
}

impl Client {
    /// Lists audit lines, newest first.
    pub async fn audit(&mut self, query: AuditQuery) -> Result<Pages<v1::AuditPage>, Failure> {
        let what = "asking who did what".to_owned();
        let AuditQuery { by, verb, since_ms, host, limit } = query;
        let request = v1::ListAuditRequest {
            by: by.unwrap_or_default(),
            verb: verb.map(|verb| verb.to_string()).unwrap_or_default(),
            since_ms,
            host: host.map(|host| host.to_string()).unwrap_or_default(),
            limit,
        };
        let stream = answered(&what, self.rpc.list_audit(request)).await?;
        Ok(Pages::new(stream, what))
    }
}

impl ListPage for v1::AuditPage {
    type Item = AuditRecord;

    fn items(self) -> Result<Vec<AuditRecord>, Invalid> {
        self.lines.into_iter().map(line).collect()
    }
}

fn line(line: v1::AuditLine) -> Result<AuditRecord, Invalid> {
    let field = Invalid::field;
    let service = line.service;
    let on = match (line.flow, line.hosts) {
        (0, hosts) if hosts.is_empty() && !service.is_empty() => {
            Object::Service(ServiceName::new(&service).map_err(|_| field("AuditLine.service"))?)
        }
        (0, hosts) if hosts.is_empty() => Object::Conductor,
        (0, hosts) => Object::Hosts(hosts.into()),
        (flow, _) => Object::Flow(FlowId(flow)),
    };
    Ok(AuditRecord {
        number: line.number,
        at: Timestamp(line.at_ms),
        by: Asker::from_word(&line.by).map_err(|_| field("AuditLine.by"))?,
        verb: Verb::from_word(&line.verb).ok_or_else(|| field("AuditLine.verb"))?,
        on,
        reason: Some(line.reason).filter(|reason| !reason.is_empty()).map(Into::into),
        answer: line.answer.into(),
    })
}
