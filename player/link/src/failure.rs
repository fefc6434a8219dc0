//! Why there is no session, or why a session ended, in words for the log.

use std::{error::Error, fmt, time::Duration};

use orchestra_certs::{ConnectError, Identity, LoadError};
use tonic::Status;

use crate::ipc::PayloadTooLong;

/// Longest text from a conductor that goes into the log, in characters.
const SHOWN: usize = 400;

/// Why a session failed. The link tries again after each of these, because each may be mended on
/// either side.
#[derive(Debug)]
pub enum SessionFailure {
    /// Our certificate, key or authority cannot be used.
    Credentials(LoadError),
    /// Our certificate is not a player's.
    NotAPlayer(Identity),
    /// There is no connection. The error itself says what was attempted.
    Connect(ConnectError),
    /// The sitter gave no snapshot in time.
    NoSnapshot,
    /// The sitter has not answered for so long whether it is there.
    SitterSilent(Duration),
    /// The conductor did not answer the attach in time.
    NoWelcome,
    /// The conductor refused the session, for this reason.
    Refused(String),
    /// The conductor redirected us too often, or to no address.
    Redirected,
    /// The stream broke.
    Stream(Status),
    /// The conductor ended the stream.
    Ended,
    /// The conductor speaks another protocol.
    Protocol(u32),
    /// A frame is for another player.
    OtherPlayer(String),
    /// A frame that must not come at this point.
    Unexpected(&'static str),
    /// A command that is longer than any order can be.
    TooLong(PayloadTooLong),
}

impl fmt::Display for SessionFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credentials(_) => f.write_str("cannot use this player's certificate"),
            Self::NotAPlayer(identity) => {
                write!(f, "this player's certificate is {identity}, which is no player")
            }
            Self::Connect(cause) => cause.fmt(f),
            Self::NoSnapshot => f.write_str("the sitter did not say how things stand in time"),
            Self::SitterSilent(silent) => write!(
                f,
                "the sitter has not answered for {silent:?}, so it takes no orders; detached until it \
                 does"
            ),
            Self::NoWelcome => f.write_str("the conductor did not answer the attach in time"),
            Self::Refused(reason) => write!(f, "the conductor refused: {}", shown(reason)),
            Self::Redirected => f.write_str("conductors redirect in a circle, or nowhere"),
            Self::Stream(status) => match orchestra_certs::explain(status) {
                Some(reason) => f.write_str(&reason),
                None => write!(
                    f,
                    "the conductor ended the session ({:?}): {}",
                    status.code(),
                    shown(status.message())
                ),
            },
            Self::Ended => f.write_str("the conductor ended the session"),
            Self::Protocol(theirs) => write!(
                f,
                "the conductor speaks protocol {theirs}, this player {}",
                orchestra_proto::PROTOCOL
            ),
            Self::OtherPlayer(name) => {
                write!(f, "the conductor spoke to player {:?} on this session", shown(name))
            }
            Self::Unexpected(what) => write!(f, "the conductor sent {what}"),
            Self::TooLong(_) => f.write_str("the conductor sent a command that is too long"),
        }
    }
}

impl Error for SessionFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Credentials(cause) => Some(cause),
            Self::Connect(cause) => cause.source(),
            // What `explain` found ends the chain of causes, and was said above.
            Self::Stream(status) if orchestra_certs::explain(status).is_none() => status.source(),
            Self::TooLong(cause) => Some(cause),
            _ => None,
        }
    }
}

/// Returns foreign text as it can be shown: not too long, and on one line.
pub(super) fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).take(SHOWN).collect()
}
