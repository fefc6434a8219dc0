//! When many units turn unhealthy together: then rather what they are asked, or whoever asks, is
//! suspected than each of them. The service is *suspicious*, which is a brake: nothing is restarted
//! for its health, and what used it goes on to use it.
//!
//! ```text
//!   so many turn within PANIC_WINDOW ──▶ suspicious ── every TRY_EVERY: one unit is restarted
//!                                           │               │ it stays ready for healthy_for
//!          so few are left unhealthy ───────┤◀──────────────┘
//!          a person releases the brake ─────┤
//!          another version, or no runs ─────┘──▶ each unit is believed again
//! ```
//!
//! The suspicion is part of the service's record, so it outlives the conductor. Those that are not
//! known to be ready do not end it: after a start nobody has told how the units are.

use orchestra_model::{
    Asker, HostName, Millis, ServiceName, Timestamp,
    service::{Cause, ServiceEvent, Suspicion},
};

use crate::{
    effect::{Effect, Released},
    input::Rejection,
    services::Services,
    tables::Service,
};

/// Units that turn unhealthy within this time turn together.
const PANIC_WINDOW: Millis = Millis::seconds(30);
/// How often a unit of a suspicious service is restarted, to find out whether that helps: an outage
/// that is real then does not need a person.
const TRY_EVERY: Millis = Millis::minutes(5);

impl Services {
    /// Finds out whether the health of a service is to be believed, now that the unit on a host has
    /// turned unhealthy, or that something else has changed.
    pub(super) fn recheck_panic(&mut self, name: &ServiceName, turned: Option<&HostName>) {
        let Some(service) = self.services.get(name) else { return };
        if service.record.judged.suspicion.is_some() {
            if service.has_recovered() {
                self.end_suspicion(name, Released::Recovered);
            }
        } else if let Some(failed) = turned.and_then(|host| service.turned_together(host)) {
            self.suspect(name, failed);
        }
    }

    /// Begins to suspect the health of a service. A flow that restarts units for it is ended.
    fn suspect(&mut self, name: &ServiceName, failed: u32) {
        let at = self.now;
        let Some(service) = self.services.get_mut(name) else { return };
        let of = count(service.healthy.len() + service.unhealthy.len());
        let suspicion = Suspicion { at, failed, of, tried: None };
        service.record.judged.suspicion = Some(suspicion.clone());
        service.note_health(at, suspicion.to_string());
        let living = service.record.living.as_ref();
        let is_voluntary = |it: &Cause| matches!(it, Cause::Unhealthy | Cause::Age);
        let heals = living.filter(|it| is_voluntary(&it.cause) && !it.superseded);
        match heals.map(|it| it.by.clone()) {
            Some(by) => self.supersede(name, by),
            None => {
                self.put_service(name);
                self.end_relief(name, Asker::Keeper);
            }
        }
        self.effects.push_back(Effect::Suspected(name.clone(), suspicion));
    }

    /// Believes the health of a service again. Units that are unhealthy now rouse no suspicion any
    /// more.
    pub(super) fn end_suspicion(&mut self, name: &ServiceName, why: Released) {
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else { return };
        if service.record.judged.suspicion.take().is_some() {
            service.record.judged.trusted = now;
            service.note_health(now, why.to_string());
            self.put_service(name);
            self.effects.push_back(Effect::Believed(name.clone(), why));
        }
    }

    /// Releases the brake of a service for a person.
    pub(super) fn release(&mut self, name: &ServiceName) -> Result<bool, Rejection> {
        if self.existing(name)?.record.judged.suspicion.is_none() {
            return Err(Rejection::NoBrake(name.clone()));
        }
        self.end_suspicion(name, Released::ByPerson);
        Ok(true)
    }

    /// Takes that a task has ended well on a host, so that its unit has been ready for long enough. If
    /// that unit was restarted to find out whether that helps, it does: the outage is real.
    pub(super) fn take_trial(&mut self, name: &ServiceName, host: &HostName) {
        let Some(service) = self.services.get(name) else { return };
        let Some(suspicion) = &service.record.judged.suspicion else { return };
        let is_tried = suspicion.tried.as_ref().is_some_and(|(tried, _)| tried == host);
        if is_tried && service.healthy.contains(host) {
            self.end_suspicion(name, Released::RestartHelped);
        }
    }
}

impl Service {
    /// Notes what is made of the health of its units.
    fn note_health(&mut self, at: Timestamp, note: String) {
        self.note(ServiceEvent {
            at,
            cause: Cause::Unhealthy,
            by: Asker::Keeper,
            version: self.record.version,
            flow: None,
            ended: None,
            note: Some(note.into()),
        });
    }

    /// Returns how many units turned unhealthy together with that of a host, if those are so many
    /// that they are suspicious.
    fn turned_together(&self, host: &HostName) -> Option<u32> {
        let at = *self.unhealthy.get(host)?;
        let judgement = self.spec()?.judgement;
        let need = judgement.panic_at(count(self.healthy.len() + self.unhealthy.len()))?;
        let trusted = self.record.judged.trusted;
        let turned = |from: Timestamp, to: Timestamp| {
            let times = self.unhealthy.values().filter(|turned| **turned > trusted);
            count(times.filter(|turned| (from..=to).contains(turned)).count())
        };
        let before = Timestamp(at.0.saturating_sub(PANIC_WINDOW.0));
        let after = Timestamp(at.0.saturating_add(PANIC_WINDOW.0));
        let failed = turned(before, at).max(turned(at, after));
        (failed >= need).then_some(failed)
    }

    /// Returns whether so many units are ready that those which are not would rouse no suspicion.
    fn has_recovered(&self) -> bool {
        let Some(suspicion) = &self.record.judged.suspicion else { return false };
        let of = suspicion.of.min(count(self.record.hosts.len()));
        let need = self.spec().and_then(|spec| spec.judgement.panic_at(of));
        need.is_none_or(|need| count(self.healthy.len()).saturating_add(need) > of)
    }

    /// Returns when a unit of a suspicious service is next restarted to find out whether that helps.
    pub(crate) fn next_trial(&self) -> Option<Timestamp> {
        let suspicion = self.record.judged.suspicion.as_ref()?;
        let last = suspicion.tried.as_ref().map_or(suspicion.at, |(_, at)| *at);
        Some(Timestamp(last.0.saturating_add(TRY_EVERY.0)))
    }

    /// Returns the unit to restart now to find out whether that helps, if it is time: each in turn.
    pub(super) fn to_try(&self, now: Timestamp) -> Option<HostName> {
        self.next_trial().filter(|next| *next <= now)?;
        let last = self.record.judged.suspicion.as_ref().and_then(|it| it.tried.as_ref());
        let mut hosts = self.to_heal_now();
        let is_later = |host: &&HostName| last.is_none_or(|(last, _)| *host > last);
        hosts.clone().find(is_later).or_else(|| hosts.next()).cloned()
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
