//! The fleet by zones.

use std::io;

use orchestra_model::{
    names::LabelValue,
    service::{BrakeScope, FleetZones, ZoneStatus},
};
use serde::Serialize;

use super::brakes::{OfAbsenceBrake, held_back};
use crate::view::{Output, Page, Style};

/// The fleet by zones, as `orc zones` shows it.
pub(crate) struct Zones<'a>(pub(crate) &'a FleetZones);

#[derive(Serialize)]
struct OfZone<'a> {
    /// `null`: players without a zone.
    zone: Option<&'a str>,
    players: u32,
    attached: u32,
    /// Those that are away and have been there before.
    absent: u32,
    brake: Option<OfAbsenceBrake<'a>>,
}

impl Output for Zones<'_> {
    fn noun(&self) -> &'static str {
        "zones"
    }

    fn json(self) -> impl Serialize {
        self.0.zones.iter().map(OfZone::from).collect::<Vec<_>>()
    }

    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        if let Some(brake) = &self.0.brake {
            let what = match &brake.released_by {
                Some(by) => format!("released by {by}"),
                None => held_back(&BrakeScope::Fleet).to_owned(),
            };
            writeln!(out, "{}", style.warning(&format!("fleet: {brake}: {what}")))?;
        }
        writeln!(out, "{:<24} {:>8} {:>8} {:>8}  BRAKE", "ZONE", "PLAYERS", "ATTACHED", "ABSENT")?;
        for ZoneStatus { zone, players, attached, absent, brake } in &self.0.zones {
            let brake = match brake {
                None => "-".to_owned(),
                Some(brake) => match &brake.released_by {
                    Some(by) => format!("released by {by}"),
                    None => style.warning(&brake.to_string()).to_string(),
                },
            };
            let zone = zone.as_ref().map_or("-", LabelValue::as_str);
            writeln!(out, "{zone:<24} {players:>8} {attached:>8} {absent:>8}  {brake}")?;
        }
        Ok(())
    }
}

impl<'a> From<&'a ZoneStatus> for OfZone<'a> {
    fn from(status: &'a ZoneStatus) -> Self {
        let ZoneStatus { zone, players, attached, absent, brake } = status;
        Self {
            zone: zone.as_ref().map(LabelValue::as_str),
            players: *players,
            attached: *attached,
            absent: *absent,
            brake: brake.as_ref().map(OfAbsenceBrake::from),
        }
    }
}
