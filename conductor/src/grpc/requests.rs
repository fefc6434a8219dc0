//! Requests of the protocol, as values of the desk.

use std::sync::Arc;

use bytes::Bytes;
use orchestra_certs::Peer;
use orchestra_model::{
    AudienceName, BundleName, FlowId, HostName, JobId, TaskState, Timestamp,
    audit::{AuditMark, Deed},
    delivery::{RequestId, Term},
    flow::{FlowSpec, JobSpec},
    flow_filter::FlowFilter,
    hostset::Unknown,
    limits,
    names::{DeploymentName, JobName, LabelValue, PlaceName, ScoreName, ServiceName},
    proof::Mac,
    service::{BrakeScope, LogQuery, Ordinal, ServiceVersion, is_message},
};
use orchestra_proto::{
    Invalid, check_flow_spec, params_from_wire, store_id,
    v1::{self, change_service_request, flow_ref::Flow},
};
use prost::Message as _;
use tonic::{Request, Status};

use crate::{
    declined::{Declined, Ground},
    desk::{
        AuditFilter, Choice, Cursor, Proposal, ProposedParams, ServiceVerb, Since, TaskFilter,
        ToldOfEnds, WantedRetry, WatchFilter, WhichFlow, WhichInstance, WhichLog,
    },
};

/// How many audit lines are listed if the request names no number.
const LINES: u32 = 100;

/// Returns the asker, who is named by the certificate.
pub(super) fn audience<T>(request: &Request<T>) -> Result<AudienceName, Status> {
    let peer = request.extensions().get::<Peer>();
    let peer = peer.ok_or_else(|| Status::unauthenticated("no verified certificate"))?;
    AudienceName::new(peer.identity.name())
        .map_err(|error| Status::unauthenticated(error.to_string()))
}

/// Reads the flow that a request names.
pub(super) fn flow(flow: Option<v1::FlowRef>) -> Result<WhichFlow, Declined> {
    match flow.and_then(|flow| flow.flow) {
        Some(Flow::Id(id)) => Ok(WhichFlow::Id(FlowId(id))),
        Some(Flow::Last(_)) => Ok(WhichFlow::Last),
        Some(Flow::Request(id)) => request_id(&id).map(WhichFlow::Request),
        None => Err(Declined::new(Ground::Invalid, "the request names no flow")),
    }
}

/// Reads which of a flow's jobs a request chooses.
pub(super) fn choice(slot: u32, job: u32, name: &str) -> Result<Choice, Declined> {
    Ok(Choice { slot, job, name: job_name(name)? })
}

/// Reads a job's name; `None` if none is given.
pub(super) fn job_name(name: &str) -> Result<Option<JobName>, Declined> {
    given(name)
        .map(|name| JobName::new(name).map_err(|error| Declined::invalid(&error)))
        .transpose()
}

/// Reads a host's name; `None` if none is given.
pub(super) fn host(name: &str) -> Result<Option<HostName>, Declined> {
    given(name)
        .map(|name| HostName::new(name).map_err(|error| Declined::invalid(&error)))
        .transpose()
}

/// Reads a score's name; `None` if none is given.
pub(super) fn score(name: &str) -> Result<Option<ScoreName>, Declined> {
    given(name)
        .map(|name| ScoreName::new(name).map_err(|error| Declined::invalid(&error)))
        .transpose()
}

/// Reads a bundle's name; `None` if none is given.
pub(super) fn bundle(name: &str) -> Result<Option<BundleName>, Declined> {
    given(name)
        .map(|name| BundleName::new(name).map_err(|error| Declined::invalid(&error)))
        .transpose()
}

/// Reads a place's name; `None` if none is given.
pub(super) fn place(name: &str) -> Result<Option<PlaceName>, Declined> {
    given(name)
        .map(|name| PlaceName::new(name).map_err(|error| Declined::invalid(&error)))
        .transpose()
}

/// Reads a deployment's name; `None` if none is given.
pub(super) fn deployment(name: &str) -> Result<Option<DeploymentName>, Declined> {
    given(name)
        .map(|name| DeploymentName::new(name).map_err(|error| Declined::invalid(&error)))
        .transpose()
}

/// Reads which tasks of the chosen jobs a request wants.
/// How much of ends a list of tasks tells. A whole end has its last line.
pub(super) fn told_of_ends(ends: bool, last_lines: bool) -> ToldOfEnds {
    match (ends, last_lines) {
        (true, _) => ToldOfEnds::Whole,
        (false, true) => ToldOfEnds::LastLines,
        (false, false) => ToldOfEnds::Nothing,
    }
}

pub(super) fn task_filter(of: &str, states: &[String]) -> Result<TaskFilter, Declined> {
    let states = states.iter().map(|word| {
        TaskState::from_word(word).ok_or_else(|| {
            let word: String = word.chars().take(80).collect();
            Declined::new(Ground::Invalid, format!("{word:?} is not a state of a task"))
        })
    });
    Ok(TaskFilter { states: states.collect::<Result<_, _>>()?, host: host(of)? })
}

/// Reads which flows a request wants.
pub(super) fn flow_filter(request: v1::ListFlowsRequest) -> Result<FlowFilter, Declined> {
    FlowFilter::try_from(request).map_err(|error| Declined::invalid(&error))
}

/// Reads which audit lines a request wants.
pub(super) fn audit_filter(request: v1::ListAuditRequest) -> Result<AuditFilter, Declined> {
    let v1::ListAuditRequest { by, verb, since_ms, host: of, limit, outcome, oldest_first, after } =
        request;
    let one_of = |what: &str, word: &str, words: &[&str]| match words.contains(&word) {
        _ if word.is_empty() => Ok(None),
        true => Ok(Some(word.to_owned())),
        false => {
            let word: String = word.chars().take(60).collect();
            let why = format!("no {what} is called {word:?}; there are {}", words.join(", "));
            Err(Declined::new(Ground::Invalid, why))
        }
    };
    let words: Vec<&str> = Deed::words().collect();
    Ok(AuditFilter {
        by: given(&by).map(str::to_owned),
        verb: one_of("verb", &verb, &words)?,
        outcome: one_of("outcome", &outcome, &Deed::OUTCOMES)?,
        since: Timestamp(since_ms),
        host: host(&of)?,
        most: if limit == 0 { LINES } else { limit },
        after: oldest_first.then_some(after),
    })
}

/// Reads the line that is known to have been there; `None` if the request names none.
pub(super) fn audit_mark(request: &v1::VerifyAuditRequest) -> Result<Option<AuditMark>, Declined> {
    let v1::VerifyAuditRequest { number, link } = request;
    if *number == 0 {
        return Ok(None);
    }
    match Mac::from_slice(link) {
        None if !link.is_empty() => {
            let why = format!("a link has 16 bytes, and this one {}", link.len());
            Err(Declined::new(Ground::Invalid, why))
        }
        link => Ok(Some(AuditMark { number: *number, link })),
    }
}

/// Reads what a watcher wants to be told.
pub(super) fn watch_filter(request: &v1::WatchRequest) -> Result<WatchFilter, Declined> {
    let v1::WatchRequest { since, every_end, snapshots, quiet, .. } = request;
    let since = match since {
        None => Since::Now,
        Some(cursor) if cursor.store.is_empty() => Since::Nothing,
        Some(cursor) => Since::Cursor(Cursor {
            store: store_id(&cursor.store)
                .map_err(|_| Declined::new(Ground::Invalid, "the cursor is of no store"))?,
            term: Term(cursor.term),
            change: cursor.change,
        }),
    };
    Ok(WatchFilter { since, every_end: *every_end, snapshots: *snapshots, quiet: *quiet })
}

/// Reads what is to be submitted. This may take long.
pub(super) fn proposal(request: v1::SubmitRequest) -> Result<Proposal, Declined> {
    let id = request_id(&request.request_id)?;
    check_flow_spec(&request.spec).map_err(|error| Declined::invalid(&error))?;
    let wire = v1::FlowSpec::decode(&request.spec[..])
        .map_err(|error| Declined::new(Ground::Invalid, format!("the spec: {error}")))?;
    let spec = FlowSpec::try_from(&wire).map_err(|error| Declined::invalid(&error))?;
    let is_own = |job: &JobSpec| job.service().is_some() || job.only_where_ok.is_some();
    if spec.slots.iter().flat_map(|slot| &slot.jobs).any(is_own) {
        let why = "units are the services' own: apply a service, with `orc service apply`";
        return Err(Declined::new(Ground::Invalid, why));
    }
    Ok(Proposal {
        request: id,
        spec,
        spec_bytes: Arc::from(&request.spec[..]),
        params: params(request.params)?,
        unknown: if request.allow_unknown { Unknown::LeftOut } else { Unknown::Refused },
    })
}

/// Reads what is to be tried again.
pub(super) fn retry(request: v1::RetryRequest) -> Result<WantedRetry, Declined> {
    Ok(WantedRetry {
        request: request_id(&request.request_id)?,
        flow: flow(request.flow)?,
        job: job_name(&request.job_name)?,
        hosts: Some(request.hosts).filter(|hosts| !hosts.is_empty()),
        params: params(request.params)?,
    })
}

/// Reads which services are to be applied.
pub(super) fn applied_specs(specs: &[Bytes]) -> Result<Vec<Arc<[u8]>>, Declined> {
    if specs.is_empty() || specs.len() > limits::SERVICES_AT_ONCE {
        let (given, most) = (specs.len(), limits::SERVICES_AT_ONCE);
        let why = format!("{given} services are given: it takes from 1 to {most} at once");
        return Err(Declined::new(Ground::Invalid, why));
    }
    Ok(specs.iter().map(|spec| spec[..].into()).collect())
}

/// Reads the name of a service.
pub(super) fn service(name: &str) -> Result<ServiceName, Declined> {
    ServiceName::new(name).map_err(|error| Declined::invalid(&error))
}

/// Reads which brake of players is meant.
pub(super) fn brake_scope(word: &str) -> Result<BrakeScope, Declined> {
    match BrakeScope::from_word(word) {
        Some(scope) => scope.map_err(|error| Declined::invalid(&error)),
        None => Err(Declined::new(
            Ground::Invalid,
            format!("{word:?} is no brake of players: it is fleet, or zone/NAME"),
        )),
    }
}

/// Reads what is asked of a service.
pub(super) fn service_verb(
    verb: Option<change_service_request::Verb>,
) -> Result<ServiceVerb, Declined> {
    let some = |hosts: String| Some(hosts).filter(|hosts| !hosts.is_empty());
    Ok(match verb {
        Some(change_service_request::Verb::Restart(hosts)) => ServiceVerb::Restart(some(hosts)),
        Some(change_service_request::Verb::Stop(_)) => ServiceVerb::Stop,
        Some(change_service_request::Verb::Start(_)) => ServiceVerb::Start,
        Some(change_service_request::Verb::Remove(_)) => ServiceVerb::Remove,
        Some(change_service_request::Verb::Pause(_)) => ServiceVerb::Pause,
        Some(change_service_request::Verb::Resume(_)) => ServiceVerb::Resume,
        Some(change_service_request::Verb::ReleaseBrake(_)) => ServiceVerb::ReleaseBrake,
        Some(change_service_request::Verb::Revert(version)) => {
            ServiceVerb::Revert((version > 0).then_some(ServiceVersion(version)))
        }
        Some(change_service_request::Verb::Scale(asked)) => {
            let v1::ServiceScale { zone, count, take_over } = asked;
            let zone = some(zone).map(|zone| LabelValue::new(&zone)).transpose();
            let zone = zone.map_err(|error| Declined::invalid(&error))?;
            ServiceVerb::Scale { zone, count, take_over }
        }
        Some(change_service_request::Verb::Rebalance(asked)) => {
            ServiceVerb::Rebalance { plan: asked.plan }
        }
        Some(change_service_request::Verb::Adopt(hosts)) => ServiceVerb::Adopt(some(hosts)),
        Some(change_service_request::Verb::Reload(hosts)) => ServiceVerb::Reload(some(hosts)),
        Some(change_service_request::Verb::Signal(asked)) if is_message(asked.signal) => {
            ServiceVerb::Signal(asked.signal, some(asked.hosts))
        }
        Some(change_service_request::Verb::Signal(asked)) => {
            let why = format!(
                "no service may be sent signal {}; HUP, USR1 and QUIT are among those that may be sent",
                asked.signal
            );
            return Err(Declined::new(Ground::Invalid, why));
        }
        Some(change_service_request::Verb::DeclareDead(ordinal)) => {
            ServiceVerb::DeclareDead(Ordinal(ordinal))
        }
        Some(change_service_request::Verb::StopStranger(hosts)) => {
            ServiceVerb::StopStrangers(some(hosts))
        }
        None => return Err(Declined::new(Ground::Invalid, "the request asks for nothing")),
    })
}

/// Reads which log is wanted, and which part of it.
pub(super) fn read_logs(request: &v1::ReadLogsRequest) -> Result<(WhichLog, LogQuery), Declined> {
    use v1::read_logs_request::Instance;
    let invalid = |what| Declined::new(Ground::Invalid, what);
    let which = match &request.instance {
        Some(Instance::Ordinal(ordinal)) => {
            let instance = WhichInstance::Ordinal(Ordinal(*ordinal));
            WhichLog::Instance(service(&request.service)?, instance)
        }
        Some(Instance::Host(name)) => {
            let host = HostName::new(name).map_err(|error| Declined::invalid(&error))?;
            WhichLog::Instance(service(&request.service)?, WhichInstance::Host(host))
        }
        Some(Instance::Attempt(of)) => WhichLog::Attempt {
            job: job_id(of.job.as_ref())?,
            host: HostName::new(&of.host).map_err(|error| Declined::invalid(&error))?,
            attempt: of.attempt,
        },
        None => return Err(invalid("logs are of one instance: NAME/N or NAME@HOST")),
    };
    let query = request.query.as_ref().ok_or_else(|| invalid("the request asks for nothing"))?;
    let query = query.try_into().map_err(|error: Invalid| Declined::invalid(&error))?;
    Ok((which, query))
}

fn job_id(job: Option<&v1::JobId>) -> Result<JobId, Declined> {
    let job = job.ok_or_else(|| Declined::new(Ground::Invalid, "the request names no job"))?;
    JobId::try_from(job).map_err(|error| Declined::invalid(&error))
}

fn params(jobs: Vec<v1::JobParams>) -> Result<Vec<ProposedParams>, Declined> {
    let params = jobs.into_iter().map(|v1::JobParams { slot, job, values }| {
        let values = params_from_wire(values).map_err(|error| Declined::invalid(&error))?;
        Ok(ProposedParams { slot, job, values })
    });
    params.collect()
}

fn request_id(bytes: &[u8]) -> Result<RequestId, Declined> {
    let id = RequestId::from_slice(bytes);
    id.ok_or_else(|| Declined::new(Ground::Invalid, "the request id has 16 bytes"))
}

/// Returns `None` for an empty text, which on the wire stands for none.
fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
