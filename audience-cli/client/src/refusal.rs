//! Refusals of the wire: the one place where gRPC statuses become failures with their exit codes.

use std::{error::Error as _, io};

use orchestra_proto::Reason;
use tonic::{Code, Status};

use crate::{
    exit::Exit,
    failure::{Failure, FailureRemedy},
};

/// The header beside FAILED_PRECONDITION that says that a host set is `empty` or has `unknown`
/// hosts.
const HOSTS: &str = "orchestra-hosts";

/// Returns whether the conductor has taken something that is not on disk yet.
pub(crate) fn is_held(status: &Status) -> bool {
    Reason::of(status) == Some(Reason::Held)
}

/// Returns the failure for a refusal of `what`.
pub(crate) fn failure(what: &str, status: &Status) -> Failure {
    let failure = Failure::new(exit(status), format!("{what}: {}", told(status)));
    match status.code() {
        Code::FailedPrecondition
            if status.metadata().get(HOSTS).is_some_and(|kind| kind != "empty") =>
        {
            failure.with(FailureRemedy::ListHosts)
        }
        Code::Unimplemented => failure.with(FailureRemedy::CompareVersions),
        _ => failure,
    }
}

/// Returns whether another attempt may help: the question may not have arrived, the answer was lost
/// on its way, or the conductor asks to try again.
pub(crate) fn is_lost(status: &Status) -> bool {
    // A status from the conductor has no source; one that the end of the connection made has one.
    let is_answer = matches!(Reason::of(status), Some(Reason::Held | Reason::Unchanged));
    (status.code() == Code::Unavailable && !is_answer) || status.source().is_some()
}

fn exit(status: &Status) -> Exit {
    match Reason::of(status) {
        Some(Reason::Ended) => return Exit::Ended,
        Some(Reason::PlanChanged) => return Exit::PlanChanged,
        Some(Reason::Held) => return Exit::Held,
        Some(Reason::Unchanged) => return Exit::Broken,
        Some(Reason::Stopping) => return Exit::Away,
        None => {}
    }
    match status.code() {
        // The end of the connection made this status.
        _ if status.source().is_some() => Exit::Away,
        Code::NotFound => Exit::NoSuchFlow,
        Code::InvalidArgument => Exit::Usage,
        Code::FailedPrecondition if status.metadata().contains_key(HOSTS) => Exit::Hosts,
        Code::PermissionDenied | Code::Unauthenticated => Exit::Denied,
        _ => Exit::Broken,
    }
}

/// Returns the conductor's sentence, or why there is none.
fn told(status: &Status) -> String {
    let mut next = status.source();
    if next.is_none() {
        return match status.message() {
            "" => format!("the conductor answered {:?}", status.code()),
            message => message.to_owned(),
        };
    }
    if let Some(reason) = orchestra_certs::explain(status) {
        return reason;
    }
    let mut deepest = String::new();
    while let Some(cause) = next {
        deepest = cause.to_string();
        // HTTP/2 keeps only the text of an IO error. With this one rustls tells that the other end
        // closed without an alert of TLS, as when a process dies.
        let ended = deepest.contains("close_notify");
        if ended || cause.downcast_ref::<io::Error>().is_some_and(is_plain_end) {
            return "the connection to the conductor was lost".to_owned();
        }
        next = cause.source();
    }
    format!("the connection to the conductor was lost ({deepest})")
}

/// Returns whether the other end is just gone, so that there is nothing to add.
fn is_plain_end(error: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof,
    };
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
    )
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataMap;

    use super::*;

    #[test]
    fn every_status_has_its_exit_code() {
        for (code, expected) in [
            (Code::InvalidArgument, Exit::Usage),
            (Code::FailedPrecondition, Exit::Broken),
            (Code::NotFound, Exit::NoSuchFlow),
            (Code::PermissionDenied, Exit::Denied),
            (Code::ResourceExhausted, Exit::Broken),
            (Code::Unavailable, Exit::Broken),
            (Code::Internal, Exit::Broken),
        ] {
            let failure = failure("asking", &Status::new(code, "because"));
            assert_eq!(failure.exit, expected, "{code:?}");
            assert_eq!(failure.to_string(), "asking: because", "{code:?}");
        }
        let mut hosts = MetadataMap::new();
        hosts.insert(HOSTS, "db9".parse().unwrap());
        let status = Status::with_metadata(Code::FailedPrecondition, "unknown hosts: db9", hosts);
        assert_eq!(failure("asking", &status).exit, Exit::Hosts);
        for (reason, expected) in [
            (Reason::Ended, Exit::Ended),
            (Reason::PlanChanged, Exit::PlanChanged),
            (Reason::Held, Exit::Held),
            (Reason::Unchanged, Exit::Broken),
            (Reason::Stopping, Exit::Away),
        ] {
            let status = reason.beside(Status::unavailable("because"));
            assert_eq!(failure("asking", &status).exit, expected, "{reason:?}");
        }
    }

    #[test]
    fn what_the_connection_lost_is_told_from_what_the_conductor_said() {
        assert!(is_lost(&Status::unavailable("the conductor is stopping")));
        for reason in [Reason::Held, Reason::Unchanged] {
            let status = reason.beside(Status::unavailable("no space"));
            assert!(!is_lost(&status), "it is an answer");
        }
        assert!(!is_lost(&Status::not_found("no flow 42")));
        let reset = Status::from_error(Box::new(io::Error::from(io::ErrorKind::ConnectionReset)));
        assert!(is_lost(&reset));
        assert_eq!(
            failure("asking", &reset).to_string(),
            "asking: the connection to the conductor was lost"
        );
        assert_eq!(failure("asking", &reset).exit, Exit::Away);
    }
}
