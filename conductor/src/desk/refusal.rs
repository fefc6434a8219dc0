//! Refusals: the one place where what is wrong with a question becomes a status.

use std::error::Error;

use orchestra_flow::Rejection;
use orchestra_model::{FlowId, HostSet, hostset::InvalidHostSet};
use orchestra_proto::Reason;
use tonic::{Status, metadata::MetadataValue};

use crate::{history::NoRest, inventory::Refusal, shown};

/// Beside FAILED_PRECONDITION: what is wrong with the host set.
const HOSTS: &str = "orchestra-hosts";

/// What the engine rejects.
pub(super) fn rejected(rejection: &Rejection) -> Status {
    let message = shown(rejection.to_string());
    match rejection {
        Rejection::Invalid(_) | Rejection::AboveHosts(..) => Status::invalid_argument(message),
        Rejection::NoHosts(_) => hosts(message, "empty"),
        Rejection::UnknownHosts(..) => hosts(message, "unknown"),
        Rejection::TooManyTasks { .. } | Rejection::NoMoreFlows => {
            Status::resource_exhausted(message)
        }
        Rejection::UnknownFlow(_) => Status::not_found(message),
        Rejection::UnknownPlayers(_) => hosts(message, "unknown"),
        Rejection::TooManyRemoved { .. }
        | Rejection::Conflicts { .. }
        | Rejection::ConflictsInFlow { .. }
        | Rejection::Cancelling(_)
        | Rejection::NothingToRetry(_)
        | Rejection::NothingToPromote(_)
        | Rejection::OutOfReach(_) => Status::failed_precondition(message),
    }
}

/// What no target of a submission could accept, or what not all would do alike.
pub(super) fn refused(refusal: &Refusal) -> Status {
    let message = shown(refusal.to_string());
    match refusal {
        Refusal::UnknownScore { .. } | Refusal::Params { .. } => Status::invalid_argument(message),
        Refusal::Differs { .. } => Status::failed_precondition(message),
    }
}

/// Why an ended flow is not retried.
pub(super) fn no_rest(why: &NoRest) -> Status {
    let message = shown(orchestra_model::chain(why));
    match why {
        NoRest::Read(_) => Status::internal(message),
        NoRest::Unknown(_) => Status::not_found(message),
        NoRest::Alive(_) | NoRest::Nothing(_) => Status::failed_precondition(message),
        NoRest::Params(_) => Status::invalid_argument(message),
    }
}

/// A host set without hosts.
pub(super) fn no_hosts() -> Status {
    hosts("the host set is empty".to_owned(), "empty")
}

/// Hosts that the players file does not name.
pub(super) fn unknown_hosts(unknown: &HostSet) -> Status {
    hosts(shown(format!("not in the players file: {unknown}")), "unknown")
}

fn hosts(message: String, kind: &'static str) -> Status {
    let mut status = Status::failed_precondition(message);
    status.metadata_mut().insert(HOSTS, MetadataValue::from_static(kind));
    status
}

/// A host set that is not well formed, or names what there is not.
pub(super) fn invalid_hosts(error: &InvalidHostSet) -> Status {
    match error {
        InvalidHostSet::UnknownHosts(unknown) => unknown_hosts(unknown),
        InvalidHostSet::UnknownGroup { .. } | InvalidHostSet::UnknownLabel { .. } => {
            Status::invalid_argument(shown(format!("{error}; `orc groups` lists them")))
        }
        error => invalid(error),
    }
}

/// A request, or something in it, that is not well formed.
pub(super) fn invalid(error: &dyn Error) -> Status {
    Status::invalid_argument(shown(orchestra_model::chain(error)))
}

pub(super) fn unknown_flow(id: FlowId) -> Status {
    Status::not_found(format!("there is no flow {id}"))
}

pub(super) fn stopping() -> Status {
    Reason::Stopping.beside(Status::unavailable("the conductor is stopping"))
}

#[cfg(test)]
mod tests {
    use orchestra_model::JobName;

    use super::*;

    #[test]
    fn a_long_list_of_hosts_is_cut_to_what_a_header_takes() {
        let names: Vec<String> = (0..5_000).map(|n| format!("x{n}y{}", n * 7)).collect();
        let unknown = HostSet::parse_plain(&names.join(",")).unwrap();
        let job = JobName::new("web").unwrap();
        for status in
            [unknown_hosts(&unknown), rejected(&Rejection::UnknownHosts(job, unknown.clone()))]
        {
            assert!(status.message().len() < 5_000, "{}", status.message().len());
            assert!(status.message().ends_with('…'));
            assert_eq!(status.metadata().get(HOSTS).unwrap(), "unknown");
        }
    }
}
