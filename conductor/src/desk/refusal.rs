//! Refusals of the engine and of others, as the desk's errors.

use orchestra_flow::Rejection;
use orchestra_model::{
    FlowId, HostSet,
    advice::{Advice, Remedy},
    hostset::InvalidHostSet,
};

use crate::{
    declined::{Declined, Ground},
    history::NoRest,
    inventory::Refusal,
};

/// Declines what the engine rejects.
pub(crate) fn rejected(rejection: &Rejection) -> Declined {
    let message = rejection.advice();
    match rejection {
        Rejection::Invalid(_)
        | Rejection::AboveHosts(..)
        | Rejection::RootIsTarget(..)
        | Rejection::BeginsTooLate
        | Rejection::Instances { .. } => Declined::new(Ground::Invalid, message),
        Rejection::NoHosts(_) => Declined::new(Ground::NoHosts, message),
        Rejection::UnknownHosts(..) => Declined::new(Ground::UnknownHosts, message),
        Rejection::TooManyTasks { .. } | Rejection::NoMoreFlows => {
            Declined::new(Ground::TooMuch, message)
        }
        Rejection::UnknownFlow(_) | Rejection::NothingToComeAfter(_) => {
            Declined::new(Ground::Unknown, message)
        }
        Rejection::UnknownPlayers(_) => Declined::new(Ground::UnknownHosts, message),
        Rejection::TooManyRemoved { .. }
        | Rejection::Conflicts { .. }
        | Rejection::ConflictsInFlow { .. }
        | Rejection::Cancelling(_)
        | Rejection::NothingToRetry(_)
        | Rejection::NothingToPromote(_)
        | Rejection::NotForRetries(_)
        | Rejection::OutOfReach(_) => Declined::new(Ground::Prevented, message),
    }
}

/// Declines what no target of a submission could accept, or what the targets would not all do
/// alike.
pub(crate) fn refused(refusal: &Refusal) -> Declined {
    let message = refusal.advice();
    match refusal {
        Refusal::UnknownScore { .. } | Refusal::Params { .. } => {
            Declined::new(Ground::Invalid, message)
        }
        Refusal::Differs { .. } => Declined::new(Ground::Prevented, message),
    }
}

/// Declines the retry of an ended flow.
pub(crate) fn no_rest(why: &NoRest) -> Declined {
    let message = orchestra_model::chain(why);
    match why {
        NoRest::Read(_) => Declined::new(Ground::Internal, message),
        NoRest::Unknown(_) => Declined::new(Ground::Unknown, message),
        NoRest::Alive(_) => Declined::new(Ground::Prevented, message),
        NoRest::Nothing(_) => Declined::new(Ground::Ended, message),
        NoRest::Params(_) | NoRest::TooMuch(_) => Declined::new(Ground::Invalid, message),
    }
}

/// Declines a host set without hosts.
pub(crate) fn no_hosts() -> Declined {
    Declined::new(Ground::NoHosts, "the host set is empty")
}

/// Declines hosts that the players file does not name.
pub(crate) fn unknown_hosts(unknown: &HostSet) -> Declined {
    Declined::new(Ground::UnknownHosts, format!("not in the players file: {unknown}"))
}

/// Declines a host set that is not well formed, or names something that does not exist.
pub(crate) fn invalid_hosts(error: &InvalidHostSet) -> Declined {
    match error {
        InvalidHostSet::UnknownHosts(unknown) => unknown_hosts(unknown),
        InvalidHostSet::UnknownGroup { .. } | InvalidHostSet::UnknownLabel { .. } => {
            let text = Advice::from(error.to_string()).say("; ");
            Declined::new(Ground::Invalid, text.name(Remedy::ListGroups).say(" lists them"))
        }
        error => Declined::invalid(error),
    }
}

pub(crate) fn unknown_flow(id: FlowId) -> Declined {
    Declined::new(Ground::Unknown, format!("there is no flow {id}"))
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
        for declined in
            [unknown_hosts(&unknown), rejected(&Rejection::UnknownHosts(job, unknown.clone()))]
        {
            assert!(declined.message().len() < 5_000, "{}", declined.message().len());
            assert!(declined.message().ends_with('…'));
            assert_eq!(declined.ground(), Ground::UnknownHosts);
        }
    }
}
