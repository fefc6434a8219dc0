//! What a refusal of the wire says: the one place where gRPC statuses become failures with their
//! exit codes.

use std::{error::Error as _, io};

use orchestra_proto::Reason;
use tonic::{Code, Status};

use crate::{
    exit::Exit,
    failure::{Failure, Remedy},
};

/// Set beside FAILED_PRECONDITION where a host set is `empty` or has hosts that are `unknown`.
const HOSTS: &str = "orchestra-hosts";

/// Whether the conductor has taken something in, and it is not on disk.
pub(crate) fn is_held(status: &Status) -> bool {
    Reason::of(status) == Some(Reason::Held)
}

/// What a refusal of `what` says to whoever asked.
pub(crate) fn failure(what: &str, status: &Status) -> Failure {
    let failure = Failure::new(exit(status), format!("{what}: {}", told(status)));
    match status.code() {
        Code::FailedPrecondition
            if status.metadata().get(HOSTS).is_some_and(|kind| kind != "empty") =>
        {
            failure.with(Remedy::ListHosts)
        }
        Code::Unimplemented => failure.with(Remedy::CompareVersions),
        _ => failure,
    }
}

/// Whether the question may not have arrived, or the answer was lost on its way, or the conductor
/// asks to try again.
pub(crate) fn is_lost(status: &Status) -> bool {
    // A status that the conductor sent has no source; one that the connection's end made has.
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
        // The connection's end made it.
        _ if status.source().is_some() => Exit::Away,
        Code::NotFound => Exit::NoSuchFlow,
        Code::InvalidArgument => Exit::Usage,
        Code::FailedPrecondition if status.metadata().contains_key(HOSTS) => Exit::Hosts,
        Code::PermissionDenied | Code::Unauthenticated => Exit::Denied,
        _ => Exit::Broken,
    }
}

/// The conductor's sentence, or why there is none.
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
        // HTTP/2 keeps only the text of an IO error: here, of rustls telling that the other end
        // was gone without a word of TLS, which is how processes die.
        let ended = deepest.contains("close_notify");
        if ended || cause.downcast_ref::<io::Error>().is_some_and(is_plain_end) {
            return "the connection to the conductor was lost".to_owned();
        }
        next = cause.source();
    }
    format!("the connection to the conductor was lost ({deepest})")
}

/// Whether the other end is simply gone, so that there is nothing to add.
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
