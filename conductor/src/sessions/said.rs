//! What a player says in one message, read.

use std::sync::Arc;

use bytes::Bytes;
use orchestra_model::{
    HostName,
    delivery::{Refusal, Report},
};
use orchestra_proto::v1::{self, from_player::Frame};
use prost::Message;
use tonic::Status;

use super::{VERSION_CHARS, cut, invalid};
use crate::driver::Reported;

/// Largest end that is kept: both streams, a response, and room for what a next release adds.
const END_BYTES: usize = 256 << 10;
/// Most that is kept of what a player says for people.
const DETAIL_CHARS: usize = 1_024;

/// What frames of a session say, up to the first that breaks the protocol.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) reports: Vec<Reported>,
    /// It answers a probe.
    pub(super) alive: bool,
    /// How it broke the protocol.
    pub(super) wrong: Option<Status>,
}

impl Said {
    /// Reads frames of a player's session.
    pub(super) fn read(host: &HostName, frames: &mut [v1::FromPlayer]) -> Said {
        let mut said = Said::default();
        said.wrong = frames.iter_mut().try_for_each(|frame| said.add(host, frame)).err();
        said
    }

    fn add(&mut self, host: &HostName, frame: &mut v1::FromPlayer) -> Result<(), Status> {
        if frame.player != host.as_str() {
            let name = cut(&frame.player, VERSION_CHARS);
            return Err(Status::permission_denied(format!("{host} spoke for {name:?}")));
        }
        match frame.frame.take() {
            Some(Frame::Report(bytes)) => self.reports.push(read_report(bytes)?),
            Some(Frame::Alive(_)) => self.alive = true,
            Some(Frame::Attach(_)) => {
                return Err(Status::invalid_argument("a second attach in one session"));
            }
            None => return Err(Status::invalid_argument("an empty frame")),
        }
        Ok(())
    }
}

/// What a frame takes of the room for reports: its bytes, and what they are read into.
pub(super) fn room(frame: &v1::FromPlayer) -> usize {
    match &frame.frame {
        Some(Frame::Report(bytes)) => bytes.len() + size_of::<Report>() + size_of::<Reported>(),
        _ => 0,
    }
}

fn read_report(bytes: Bytes) -> Result<Reported, Status> {
    let wire = v1::Report::decode(bytes)
        .map_err(|error| Status::invalid_argument(format!("report: {error}")))?;
    let end = match &wire.kind {
        Some(v1::report::Kind::Ended(end)) if end.len() > END_BYTES => {
            return Err(Status::invalid_argument(format!(
                "report: an end of {} bytes; at most {END_BYTES} are kept",
                end.len()
            )));
        }
        Some(v1::report::Kind::Ended(end)) => Some(Arc::from(&end[..])),
        _ => None,
    };
    let mut report = Report::try_from(wire).map_err(|error| invalid(&error))?;
    if let Report::Refused { refusal, .. } = &mut report {
        shorten(refusal);
    }
    Ok(Reported { report: Box::new(report), end })
}

/// What a player says for people is kept with the task, and told to everybody who watches.
fn shorten(refusal: &mut Refusal) {
    if let Refusal::ScoreDisabled(detail)
    | Refusal::Parameters(detail)
    | Refusal::SpawnFailed(detail)
    | Refusal::Spool(detail) = refusal
        && detail.len() > DETAIL_CHARS
    {
        *detail = cut(detail, DETAIL_CHARS);
    }
}
