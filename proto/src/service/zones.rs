//! The fleet by zones, and what holds replacements back there.

use orchestra_model::{
    Asker,
    names::LabelValue,
    service::{AbsenceBrake, FleetZones, ZoneStatus},
    time::Timestamp,
};

use crate::{
    invalid::{InField as _, Invalid},
    v1,
};

impl From<&FleetZones> for v1::FleetZones {
    fn from(fleet: &FleetZones) -> Self {
        Self {
            zones: fleet.zones.iter().map(Into::into).collect(),
            brake: fleet.brake.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::FleetZones> for FleetZones {
    type Error = Invalid;

    fn try_from(fleet: v1::FleetZones) -> Result<Self, Invalid> {
        Ok(FleetZones {
            zones: fleet.zones.iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            brake: fleet.brake.as_ref().map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<&ZoneStatus> for v1::ZoneStatus {
    fn from(status: &ZoneStatus) -> Self {
        Self {
            zone: status.zone.as_ref().map(ToString::to_string).unwrap_or_default(),
            players: status.players,
            attached: status.attached,
            absent: status.absent,
            brake: status.brake.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<&v1::ZoneStatus> for ZoneStatus {
    type Error = Invalid;

    fn try_from(status: &v1::ZoneStatus) -> Result<Self, Invalid> {
        let zone = Some(&status.zone).filter(|zone| !zone.is_empty());
        Ok(ZoneStatus {
            zone: zone.map(|zone| LabelValue::new(zone)).transpose().in_field("ZoneStatus.zone")?,
            players: status.players,
            attached: status.attached,
            absent: status.absent,
            brake: status.brake.as_ref().map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<&AbsenceBrake> for v1::AbsenceBrake {
    fn from(brake: &AbsenceBrake) -> Self {
        Self {
            at_ms: brake.at.0,
            absent: brake.absent,
            of: brake.of,
            released_by: brake.released_by.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }
}

impl TryFrom<&v1::AbsenceBrake> for AbsenceBrake {
    type Error = Invalid;

    fn try_from(brake: &v1::AbsenceBrake) -> Result<Self, Invalid> {
        let by = Some(&brake.released_by).filter(|by| !by.is_empty());
        Ok(AbsenceBrake {
            at: Timestamp(brake.at_ms),
            absent: brake.absent,
            of: brake.of,
            released_by: by
                .map(|by| Asker::from_word(by))
                .transpose()
                .in_field("AbsenceBrake.released_by")?,
        })
    }
}
