//! Brakes that are engaged, a line each.

use std::io;

use orchestra_model::{
    Asker,
    service::{AbsenceBrake, BrakeScope, FleetZones, ServiceStatus, Suspicion},
};
use serde::Serialize;

use crate::view::{Output, Page, Style, when, when_about};

/// Whatever is braked.
pub(crate) struct Brakes<'a> {
    pub(crate) fleet: &'a FleetZones,
    /// Services whose health is not believed.
    pub(crate) services: &'a [ServiceStatus],
}

/// A brake.
#[derive(Serialize)]
struct Brake<'a> {
    /// What is braked: `service/web`, `zone/east`, `fleet`.
    on: String,
    service: Option<&'a str>,
    suspicion: Option<OfSuspicion<'a>>,
    /// Of a zone or the fleet.
    absence: Option<OfAbsenceBrake<'a>>,
}

/// That the health of a service's units is not believed.
#[derive(Serialize)]
pub(super) struct OfSuspicion<'a> {
    since: String,
    why: String,
    /// How many units turned unhealthy together.
    failed: u32,
    /// Of how many.
    of: u32,
    /// The host whose unit was restarted last to find out whether that helps, and when; `null`: none
    /// was yet.
    tried: Option<&'a str>,
    tried_at: Option<String>,
}

impl<'a> From<&'a Suspicion> for OfSuspicion<'a> {
    fn from(suspicion: &'a Suspicion) -> Self {
        let tried = suspicion.tried.as_ref();
        Self {
            since: when(suspicion.at),
            why: suspicion.to_string(),
            failed: suspicion.failed,
            of: suspicion.of,
            tried: tried.map(|(host, _)| host.as_str()),
            tried_at: tried.map(|(_, at)| when(*at)),
        }
    }
}

/// That many players are away.
#[derive(Serialize)]
pub(super) struct OfAbsenceBrake<'a> {
    since: String,
    why: String,
    absent: u32,
    /// Of how many that had been there.
    of: u32,
    /// Who released it; `null`: it holds replacements back.
    released_by: Option<&'a str>,
}

impl<'a> From<&'a AbsenceBrake> for OfAbsenceBrake<'a> {
    fn from(brake: &'a AbsenceBrake) -> Self {
        Self {
            since: when(brake.at),
            why: brake.to_string(),
            absent: brake.absent,
            of: brake.of,
            released_by: brake.released_by.as_ref().map(Asker::as_str),
        }
    }
}

impl<'a> Brakes<'a> {
    /// Whether a service is braked.
    pub(crate) fn concern(service: &ServiceStatus) -> bool {
        service.record.judged.suspicion.is_some()
    }

    /// The brakes of the fleet and of its zones that hold something back.
    fn of_players(&self) -> impl Iterator<Item = (BrakeScope, &'a AbsenceBrake)> {
        let fleet = self.fleet.brake.iter().map(|brake| (BrakeScope::Fleet, brake));
        let zones =
            self.fleet.zones.iter().filter_map(|zone| {
                Some((BrakeScope::Zone(zone.zone.clone()), zone.brake.as_ref()?))
            });
        fleet.chain(zones).filter(|(_, brake)| brake.is_engaged())
    }
}

impl Output for Brakes<'_> {
    fn noun(&self) -> &'static str {
        "brakes"
    }

    fn json(self) -> impl Serialize {
        let players = self.of_players().map(|(scope, brake)| Brake {
            on: scope.to_string(),
            service: None,
            suspicion: None,
            absence: Some(brake.into()),
        });
        let services = self.services.iter().map(|service| Brake {
            on: format!("service/{}", service.record.name),
            service: Some(service.record.name.as_str()),
            suspicion: service.record.judged.suspicion.as_ref().map(Into::into),
            absence: None,
        });
        players.chain(services).collect::<Vec<_>>()
    }

    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        let mut lines = Vec::new();
        for (scope, brake) in self.of_players() {
            lines.push((scope.to_string(), brake.at, format!("{brake}: {}", held_back(&scope))));
        }
        for service in self.services {
            let Some(suspicion) = &service.record.judged.suspicion else { continue };
            let why = format!("{suspicion}: no unit is restarted or withdrawn for its health");
            lines.push((format!("service/{}", service.record.name), suspicion.at, why));
        }
        if !lines.is_empty() {
            writeln!(out, "{:<24} {:<20} WHY", "BRAKE", "SINCE")?;
        }
        lines.iter().try_for_each(|(on, at, why)| {
            writeln!(out, "{on:<24} {:<20} {}", when_about(*at), style.warning(why))
        })
    }

    fn remark(&self) -> Option<String> {
        let is_any = self.of_players().next().is_some() || !self.services.is_empty();
        (!is_any).then(|| "no brake is engaged".to_owned())
    }
}

/// What a brake of players holds back.
pub(super) fn held_back(scope: &BrakeScope) -> &'static str {
    match scope {
        BrakeScope::Fleet => "no instance is replaced",
        BrakeScope::Zone(_) => "its instances are replaced one by one, 10s apart",
    }
}

/// A brake of players that was released.
pub(crate) struct BrakeReleased<'a>(pub(crate) &'a BrakeScope);

#[derive(Serialize)]
struct OfReleased {
    on: String,
}

impl Output for BrakeReleased<'_> {
    fn noun(&self) -> &'static str {
        "fleet_brake_released"
    }

    fn json(self) -> impl Serialize {
        OfReleased { on: self.0.to_string() }
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        writeln!(out, "{}: instances are replaced as usual", self.0)
    }
}
