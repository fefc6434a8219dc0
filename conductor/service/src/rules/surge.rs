//! Updates that begin more instances before they end any (`update.surge`).
//!
//! ```text
//!   wanted: 2   ── a version comes ─▶ 3 ── its flow ends ─▶ 2
//!                                     │ the third begins, and has to be ready
//!                                     │ then the first and the second get the version, as ever
//!                                     ▼ then one of the three is ended
//! ```
//!
//! The service is wanted with more instances while the flow of the update lives, and that is all: they
//! are placed as others are, and those that are too many afterwards leave as they do after a scale.
//! What finds no room is left out, because an update is not to wait for that.

use orchestra_model::{
    HostName, ServiceName,
    service::{Cause, Goal, Layout},
};

use crate::{services::Services, tables::Service};

impl Services {
    /// Finds out how many more instances a service is wanted with, now that it waits for the flow of an
    /// update, or does so no more.
    pub(super) fn plan_surge(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get(name) else { return };
        let pending = service.record.pending.as_ref().map(|change| change.cause);
        let is_update = matches!(pending, Some(Cause::Update | Cause::Revert));
        let goes_on = service.record.living.is_some();
        let surged = match (is_update, &service.record.layout) {
            // It was planned when the flow was made that goes on.
            (false, _) if goes_on => return,
            (true, Some(layout)) if self.has_well_one_to_update(name) => {
                Some(service.surged(layout))
            }
            _ => None,
        };
        if let Some(service) = self.services.get_mut(name) {
            service.record.surged =
                surged.filter(|surged| service.record.layout.as_ref() != Some(surged));
        }
    }

    /// Whether something is there that an update takes away for a while.
    fn has_well_one_to_update(&self, name: &ServiceName) -> bool {
        let Some(service) = self.services.get(name) else { return false };
        let is_to_change = |host: &HostName| {
            let report = service.placements.get(host).and_then(|placed| placed.report.as_ref());
            report.is_some_and(|report| report.version != service.record.version)
                && service.is_ready_on(host)
                && self.is_reachable(host)
        };
        service.goal() == Goal::Running && service.record.hosts.iter().any(is_to_change)
    }

    /// Wants no more instances of an update than have found a player.
    pub(super) fn limit_surge(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(surged) = service.record.surged.clone() else { return };
        let Some(layout) = service.record.layout.clone() else { return };
        let mut left = surged.clone();
        for (zone, missing) in &mut service.missing {
            let more =
                surged.count_in(zone.as_ref()).saturating_sub(layout.count_in(zone.as_ref()));
            let dropped = more.min(*missing);
            *missing -= dropped;
            let count = left.count_in(zone.as_ref()) - dropped;
            left = left.scaled(zone.as_ref(), count).unwrap_or(left);
        }
        service.missing.retain(|(_, missing)| *missing > 0);
        service.record.surged = Some(left).filter(|left| *left != layout);
    }

    /// Returns what is told of the flow of an update that begins fewer instances than its version says.
    pub(super) fn unsurged(&self, name: &ServiceName) -> Option<String> {
        let service = self.services.get(name)?;
        let layout = service.record.layout.as_ref()?;
        let is_update = matches!(service.begins, Cause::Update | Cause::Revert);
        let wanted = service.surged(layout).total();
        let placed = service.record.surged.as_ref().unwrap_or(layout).total();
        let without = wanted.saturating_sub(placed);
        let is_told = is_update && without > 0 && self.has_well_one_to_update(name);
        is_told.then(|| format!("no player has room for {without} more: it is updated without"))
    }

    /// Has instances leave that are more than is wanted now that the flow is over, or was refused, for
    /// which they were begun.
    pub(super) fn leave_surplus(&mut self, name: &ServiceName) {
        let service = self.services.get_mut(name);
        let was_surged = service.is_some_and(|service| std::mem::take(&mut service.was_surged));
        if was_surged && self.fill(name) {
            self.left_behind(name).iter().for_each(|host| self.displace_if_gone(name, host));
        }
    }
}

impl Service {
    /// With how many instances it is wanted while a version comes.
    fn surged(&self, layout: &Layout) -> Layout {
        layout.raised(self.spec().map_or(0, |spec| spec.update.surge))
    }
}
