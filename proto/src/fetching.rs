//! Bundles that players fetch: reports, and the sources that are named.

use bytes::Bytes;
use orchestra_model::{
    FlowId, HostName, Timestamp,
    bundle::BundleId,
    limits,
    relay::{
        FetchReport, FetchSources, FetchStage, FetchStatus, RELAY_ADDRESS_BYTES, SignedTicket,
    },
    size::ByteSize,
};

use crate::{
    invalid::{InField, Invalid},
    v1::{self, fetch_report::Stage},
};

impl From<&FetchReport> for v1::FetchReport {
    fn from(report: &FetchReport) -> Self {
        Self {
            key: Some(report.attempt.into()),
            bundle: id_to_wire(report.bundle),
            stage: stage_to_wire(report.stage).into(),
            here_bytes: report.here.0,
            source: report.source.as_ref().map(ToString::to_string).unwrap_or_default(),
            wants_sources: report.wants_sources,
            stalled: report.is_stalled,
            faulty: report.faulty.iter().map(ToString::to_string).collect(),
            left: report.left.clone(),
        }
    }
}

impl TryFrom<&v1::FetchReport> for FetchReport {
    type Error = Invalid;

    fn try_from(wire: &v1::FetchReport) -> Result<Self, Invalid> {
        if wire.faulty.len() > limits::FETCH_SOURCES {
            return Err(Invalid::field("FetchReport.faulty"));
        }
        if wire.left.len() > Self::LEFT_BYTES {
            return Err(Invalid::field("FetchReport.left"));
        }
        let faulty = wire.faulty.iter().map(|host| HostName::new(host));
        Ok(Self {
            attempt: wire.key.as_ref().in_field("FetchReport.key")?.try_into()?,
            bundle: id_from_wire(&wire.bundle, "FetchReport.bundle")?,
            stage: stage_from_wire(wire.stage(), "FetchReport.stage")?,
            here: ByteSize(wire.here_bytes),
            source: source_from_wire(&wire.source, "FetchReport.source")?,
            wants_sources: wire.wants_sources,
            is_stalled: wire.stalled,
            faulty: faulty.collect::<Result<_, _>>().in_field("FetchReport.faulty")?,
            left: wire.left.clone(),
        })
    }
}

impl From<&FetchSources> for v1::FetchSources {
    fn from(sources: &FetchSources) -> Self {
        let relay = |(host, address): &(HostName, String)| v1::RelayAt {
            host: host.to_string(),
            address: address.clone(),
        };
        Self {
            bundle: id_to_wire(sources.ticket.ticket.bundle),
            relays: sources.relays.iter().map(relay).collect(),
            ticket: sources.ticket.encode().into(),
            hopeless: sources.hopeless.clone().unwrap_or_default(),
        }
    }
}

impl TryFrom<&v1::FetchSources> for FetchSources {
    type Error = Invalid;

    fn try_from(wire: &v1::FetchSources) -> Result<Self, Invalid> {
        if wire.relays.len() > limits::FETCH_SOURCES {
            return Err(Invalid::field("FetchSources.relays"));
        }
        let ticket = SignedTicket::decode(&wire.ticket).in_field("FetchSources.ticket")?;
        if id_from_wire(&wire.bundle, "FetchSources.bundle")? != ticket.ticket.bundle {
            return Err(Invalid::field("FetchSources.bundle"));
        }
        let relays = wire.relays.iter().map(relay_from_wire).collect::<Result<_, _>>()?;
        let hopeless = Some(wire.hopeless.clone()).filter(|why| !why.is_empty());
        Ok(Self { relays, ticket, hopeless })
    }
}

impl From<&FetchStatus> for v1::FetchStatus {
    fn from(status: &FetchStatus) -> Self {
        Self {
            host: status.host.to_string(),
            bundle: id_to_wire(status.bundle),
            flow: status.flow.0,
            stage: stage_to_wire(status.stage).into(),
            here_bytes: status.here.0,
            content_bytes: status.content.0,
            rate: status.rate,
            source: status.source.as_ref().map(ToString::to_string).unwrap_or_default(),
            left: status.left.clone(),
            at_ms: status.at.0,
        }
    }
}

impl TryFrom<&v1::FetchStatus> for FetchStatus {
    type Error = Invalid;

    fn try_from(wire: &v1::FetchStatus) -> Result<Self, Invalid> {
        Ok(Self {
            host: HostName::new(&wire.host).in_field("FetchStatus.host")?,
            bundle: id_from_wire(&wire.bundle, "FetchStatus.bundle")?,
            flow: FlowId(wire.flow),
            stage: stage_from_wire(wire.stage(), "FetchStatus.stage")?,
            here: ByteSize(wire.here_bytes),
            content: ByteSize(wire.content_bytes),
            rate: wire.rate,
            source: source_from_wire(&wire.source, "FetchStatus.source")?,
            left: wire.left.clone(),
            at: Timestamp(wire.at_ms),
        })
    }
}

/// Reads which bundle is meant; `None` if none is named.
pub fn bundle_from_wire(bytes: &[u8]) -> Result<Option<BundleId>, Invalid> {
    let named = (!bytes.is_empty()).then(|| id_from_wire(bytes, "bundle"));
    named.transpose()
}

fn stage_to_wire(stage: FetchStage) -> Stage {
    match stage {
        FetchStage::Fetching => Stage::Fetching,
        FetchStage::Arrived => Stage::Arrived,
        FetchStage::Ended => Stage::Ended,
    }
}

fn stage_from_wire(stage: Stage, field: &'static str) -> Result<FetchStage, Invalid> {
    match stage {
        Stage::Fetching => Ok(FetchStage::Fetching),
        Stage::Arrived => Ok(FetchStage::Arrived),
        Stage::Ended => Ok(FetchStage::Ended),
        Stage::Unspecified => Err(Invalid::field(field)),
    }
}

fn source_from_wire(host: &str, field: &'static str) -> Result<Option<HostName>, Invalid> {
    let named = (!host.is_empty()).then(|| HostName::new(host).in_field(field));
    named.transpose()
}

fn relay_from_wire(relay: &v1::RelayAt) -> Result<(HostName, String), Invalid> {
    if relay.address.is_empty() || relay.address.len() > RELAY_ADDRESS_BYTES {
        return Err(Invalid::field("RelayAt.address"));
    }
    Ok((HostName::new(&relay.host).in_field("RelayAt.host")?, relay.address.clone()))
}

fn id_to_wire(id: BundleId) -> Bytes {
    Bytes::copy_from_slice(&id.0)
}

fn id_from_wire(bytes: &[u8], field: &'static str) -> Result<BundleId, Invalid> {
    bytes.try_into().map(BundleId).map_err(|_| Invalid::field(field))
}
