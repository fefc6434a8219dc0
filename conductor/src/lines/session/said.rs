//! Reads what a player says in one message.

use bytes::Bytes;
use orchestra_model::{
    HostName,
    bundle::PlacesReport,
    delivery::{KnownEnd, Refusal, Report},
    relay::FetchReport,
    service::{Leases, LogEnd, LogPart, ReadingId, RunEnd, UnitReport},
    vitals::VitalsBatch,
};
use orchestra_proto::{
    batch_from_wire, known_end, log_part_from_wire,
    v1::{self, from_player::Frame, report::Kind},
};
use prost::Message;

use crate::{
    declined::{Declined, Ground},
    lines::{NAME_CHARS, cut},
};

/// Most characters that are kept of a player's text for people.
const DETAIL_CHARS: usize = 1_024;

/// The content of frames, up to the first that breaks the protocol.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) reports: Vec<Report<KnownEnd>>,
    /// Units that changed.
    pub(super) units: Vec<UnitReport>,
    /// Parts of logs that somebody reads.
    pub(super) logs: Vec<(ReadingId, LogPart)>,
    /// Leases that are asked for.
    pub(super) leases: Vec<Leases>,
    /// Its places, where it tells them anew.
    pub(super) places: Option<PlacesReport>,
    /// Samples of what the host and its units use.
    pub(super) vitals: Vec<VitalsBatch>,
    /// Bundles that it fetches.
    pub(super) fetches: Vec<FetchReport>,
    /// Whether it answers a probe.
    pub(super) alive: bool,
    /// How the player broke the protocol.
    pub(super) wrong: Option<Declined>,
}

impl Said {
    /// Reads frames of a player's session.
    pub(super) fn read(host: &HostName, frames: &mut [v1::FromPlayer]) -> Said {
        let mut said = Said::default();
        said.wrong = frames.iter_mut().try_for_each(|frame| said.add(host, frame)).err();
        said
    }

    fn add(&mut self, host: &HostName, frame: &mut v1::FromPlayer) -> Result<(), Declined> {
        if frame.player != host.as_str() {
            let name = cut(&frame.player, NAME_CHARS);
            return Err(Declined::new(Ground::Forbidden, format!("{host} spoke for {name:?}")));
        }
        match frame.frame.take() {
            Some(Frame::Report(bytes)) => self.add_report(bytes)?,
            Some(Frame::Alive(_)) => self.alive = true,
            Some(Frame::Fetch(report)) => {
                let read = FetchReport::try_from(&report);
                self.fetches.push(read.map_err(|error| Declined::invalid(&error))?);
            }
            Some(Frame::Attach(_)) => {
                return Err(Declined::new(Ground::Invalid, "a second attach in one session"));
            }
            None => return Err(Declined::new(Ground::Invalid, "an empty frame")),
        }
        Ok(())
    }

    fn add_report(&mut self, bytes: Bytes) -> Result<(), Declined> {
        let wire = v1::Report::decode(bytes)
            .map_err(|error| Declined::new(Ground::Invalid, format!("report: {error}")))?;
        match &wire.kind {
            Some(Kind::Unit(unit)) => self.units.push(unit_report(unit)?),
            Some(Kind::Log(_)) => self.logs.extend(log_part(wire)?),
            Some(Kind::Leases(asked)) => {
                let read = Leases::try_from(asked).map_err(|error| Declined::invalid(&error))?;
                self.leases.push(read);
            }
            Some(Kind::Places(places)) => {
                let read = PlacesReport::try_from(places);
                self.places = Some(read.map_err(|error| Declined::invalid(&error))?);
            }
            Some(Kind::Vitals(batch)) => {
                let read = batch_from_wire(batch).map_err(|error| Declined::invalid(&error))?;
                self.vitals.push(read);
            }
            _ => self.reports.push(attempt_report(wire)?),
        }
        Ok(())
    }
}

/// Reads a report about a unit. Texts for people are cut.
fn unit_report(unit: &v1::UnitReport) -> Result<UnitReport, Declined> {
    let mut report = UnitReport::try_from(unit).map_err(|error| Declined::invalid(&error))?;
    if let Some(RunEnd::NotSpawned(why)) = &mut report.last_end
        && why.len() > DETAIL_CHARS
    {
        *why = cut(why, DETAIL_CHARS);
    }
    Ok(report)
}

/// Reads a part of a log. Texts for people are cut.
fn log_part(wire: v1::Report) -> Result<Option<(ReadingId, LogPart)>, Declined> {
    let Some(Kind::Log(part)) = wire.kind else { return Ok(None) };
    let (id, mut part) = log_part_from_wire(part).map_err(|error| Declined::invalid(&error))?;
    if let LogPart::End(LogEnd::Failed(why)) = &mut part {
        *why = cut(why, DETAIL_CHARS);
    }
    Ok(Some((id, part)))
}

/// Returns how much room for reports a frame takes: its bytes, and what they are decoded into.
pub(super) fn room(frame: &v1::FromPlayer) -> usize {
    match &frame.frame {
        Some(Frame::Report(bytes)) => bytes.len() + size_of::<Report<KnownEnd>>(),
        _ => 0,
    }
}

/// Reads a report about an attempt.
fn attempt_report(wire: v1::Report) -> Result<Report<KnownEnd>, Declined> {
    let report = Report::try_from(wire).and_then(|report| report.try_map(known_end));
    let mut report = report.map_err(|error| Declined::invalid(&error))?;
    if let Report::Refused { refusal, .. } = &mut report {
        shorten(refusal);
    }
    Ok(report)
}

/// Cuts a refusal's text for people, because it is kept with the task and told to every watcher.
fn shorten(refusal: &mut Refusal) {
    if let Refusal::ScoreDisabled(detail)
    | Refusal::Parameters(detail)
    | Refusal::SpawnFailed(detail)
    | Refusal::Spool(detail)
    | Refusal::Limits(detail)
    | Refusal::Bundle(detail)
    | Refusal::Source(detail)
    | Refusal::Policy(detail) = refusal
        && detail.len() > DETAIL_CHARS
    {
        *detail = cut(detail, DETAIL_CHARS);
    }
}
