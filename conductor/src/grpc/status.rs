//! How a declined request looks on the wire: the one place where the conductor's error becomes a
//! status.

use std::error::Error as _;

use orchestra_proto::Reason;
use tonic::{Code, Status, metadata::MetadataValue};

use crate::declined::{Declined, Ground};

/// The header beside FAILED_PRECONDITION that tells what is wrong with the host set.
const HOSTS: &str = "orchestra-hosts";

impl From<Declined> for Status {
    fn from(declined: Declined) -> Self {
        let message = declined.message();
        match declined.ground() {
            Ground::Invalid => Status::invalid_argument(message),
            Ground::Unknown => Status::not_found(message),
            Ground::Prevented => Status::failed_precondition(message),
            Ground::NoHosts => beside_hosts(&message, "empty"),
            Ground::UnknownHosts => beside_hosts(&message, "unknown"),
            Ground::Ended => Reason::Ended.beside(Status::failed_precondition(message)),
            Ground::PlanChanged => Reason::PlanChanged.beside(Status::failed_precondition(message)),
            Ground::TooMuch => Status::resource_exhausted(message),
            Ground::Held => Reason::Held.beside(Status::unavailable(message)),
            Ground::Unchanged => Reason::Unchanged.beside(Status::unavailable(message)),
            Ground::NotNow => Status::unavailable(message),
            Ground::Stopping => Reason::Stopping.beside(Status::unavailable(message)),
            Ground::Overtaken => Status::aborted(message),
            Ground::Forbidden => Status::permission_denied(message),
            Ground::Occupied => Status::already_exists(message),
            Ground::Late => Status::deadline_exceeded(message),
            Ground::LineLost => lost(&declined),
            Ground::Internal => Status::internal(message),
        }
    }
}

fn beside_hosts(message: &str, kind: &'static str) -> Status {
    let mut status = Status::failed_precondition(message);
    status.metadata_mut().insert(HOSTS, MetadataValue::from_static(kind));
    status
}

/// Returns the status with which a line was lost, unchanged.
fn lost(declined: &Declined) -> Status {
    let said = declined.source().and_then(|source| source.downcast_ref::<Status>());
    said.cloned().unwrap_or_else(|| Status::unknown(declined.message()))
}

/// Returns the error for a line that was lost with this status. If we ended the line because a
/// message on it was too large, the error says so.
pub(super) fn line_lost(status: Status) -> Declined {
    let message = status.message().to_owned();
    match status.code() {
        // The decoder of the protocol's library uses this code.
        Code::OutOfRange => {
            Declined::new(Ground::TooMuch, format!("a message is too large: {message}"))
        }
        _ => Declined::line_lost(&message, Box::new(status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_host_set_stands_beside_the_status() {
        for (ground, kind) in [(Ground::NoHosts, "empty"), (Ground::UnknownHosts, "unknown")] {
            let status = Status::from(Declined::new(ground, "why"));
            assert_eq!(status.code(), Code::FailedPrecondition);
            assert_eq!(status.metadata().get(HOSTS).unwrap(), kind);
        }
    }

    #[test]
    fn a_line_that_is_lost_is_told_as_it_was() {
        let told = Status::from(line_lost(Status::aborted("reset")));
        assert_eq!((told.code(), told.message()), (Code::Aborted, "reset"));
        let told = Status::from(line_lost(Status::out_of_range("9 bytes")));
        assert_eq!(
            (told.code(), told.message()),
            (Code::ResourceExhausted, "a message is too large: 9 bytes")
        );
    }
}
