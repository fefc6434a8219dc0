//! Reaching a conductor.

use std::time::Duration;

use orchestra_certs::{ConnectError, Credentials, LoadError, NewestLists, Refused, channel_to};
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::{
    backoff::Backoff,
    config::Connection,
    exit::Exit,
    failure::{Failure, FailureRemedy},
};

/// Longest single attempt to connect.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Tries every conductor in turn until one answers, one refuses us for good, or the deadline comes.
pub(crate) async fn dial(
    connection: &Connection,
    credentials: &Credentials,
    deadline: Option<Instant>,
) -> Result<Channel, Failure> {
    check_role(connection, credentials)?;
    let mut backoff = Backoff::new();
    loop {
        let error = match try_each(connection, credentials, deadline).await? {
            Ok(channel) => return Ok(channel),
            Err(error) => error,
        };
        if is_final(&error) || !backoff.pause(deadline).await {
            return Err(dial_failure(error));
        }
    }
}

/// Tries every conductor in turn, each once.
pub(crate) async fn dial_once(
    connection: &Connection,
    credentials: &Credentials,
) -> Result<Channel, Failure> {
    check_role(connection, credentials)?;
    try_each(connection, credentials, None).await?.map_err(dial_failure)
}

/// Checks the role of our certificate before any conductor is dialled.
fn check_role(connection: &Connection, credentials: &Credentials) -> Result<(), Failure> {
    let conductor = &connection.expected.conductor_name;
    credentials.client_config(conductor).map(drop).map_err(load_failure)
}

/// Tries every conductor in turn until one answers or one refuses us for good. Returns why the last one
/// was not reached; fails if there is none.
async fn try_each(
    connection: &Connection,
    credentials: &Credentials,
    deadline: Option<Instant>,
) -> Result<Result<Channel, ConnectError>, Failure> {
    let mut last = None;
    for address in &connection.conductors {
        let left = deadline.map_or(ATTEMPT, |at| at.saturating_duration_since(Instant::now()));
        let limit = left.min(ATTEMPT);
        let conductor = &connection.expected.conductor_name;
        match channel_to(conductor, address, credentials, limit).await {
            Ok(channel) => return Ok(Ok(channel)),
            Err(error) if is_final(&error) => return Ok(Err(error)),
            Err(error) => last = Some(error),
        }
    }
    last.map(Err).ok_or_else(|| Failure::broken("reaching the conductor: none is configured"))
}

/// Whether another attempt would end the same way.
fn is_final(error: &ConnectError) -> bool {
    match error {
        ConnectError::Unreachable { .. } | ConnectError::TimedOut { .. } => false,
        ConnectError::Refused { reason, .. } => !matches!(
            reason,
            Refused::Closed | Refused::TimedOut | Refused::Crowded | Refused::Other(_)
        ),
        ConnectError::Http { .. } | ConnectError::Unusable { .. } => true,
    }
}

fn dial_failure(error: ConnectError) -> Failure {
    let remedy = match &error {
        ConnectError::Unreachable { .. } | ConnectError::TimedOut { .. } => {
            Some(FailureRemedy::CheckAddress)
        }
        ConnectError::Refused { reason: Refused::Identity(_), .. } => {
            Some(FailureRemedy::CheckName)
        }
        _ => None,
    };
    let exit = if is_final(&error) { Exit::Broken } else { Exit::Away };
    let failure = Failure::new(exit, "reaching the conductor").because(error);
    match remedy {
        Some(remedy) => failure.with(remedy),
        None => failure,
    }
}

pub(crate) fn load(connection: &Connection, newest: &NewestLists) -> Result<Credentials, Failure> {
    let Connection { files, expected, .. } = connection;
    Credentials::load_after(files, &expected.domain, newest).map_err(load_failure)
}

fn load_failure(error: LoadError) -> Failure {
    let exit = match &error {
        LoadError::Role { .. } => Exit::Denied,
        _ => Exit::Usage,
    };
    Failure::new(exit, "loading the certificate and key").because(error)
}
