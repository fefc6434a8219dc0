//! Putting a fleet in force: players, groups and deployments, all of it or nothing.
//!
//! First it is checked what the load would take away: players, and limits in force. The engine
//! takes deployments and players one after the other. Once it has taken either, work may have
//! started or ended by that, and nothing can be put back. So everything for which a load may be
//! refused is checked before anything changes. Deployments go first, so that a new player never
//! works without the limits that came with it.

use std::sync::Arc;

use orchestra_flow::{Answer, Effect, Input, Rejection, ReplyId, ReplyTo};
use orchestra_model::{
    Deployments, HostSet,
    record::{Op, Record},
    service::FileOutcome,
};

use tokio::sync::oneshot;

use super::{Driver, LoadTerms, Removal, count, outgoing::After, starts::denied_starts};
use crate::{
    declined::{Declined, Ground},
    fleet::{Fleet, SERVICES},
};

/// What to do if a load would take away more than it may.
const ALLOW: &str = "mend the files, or allow it with `orc conductor reload --allow-removal`, or \
                     start the conductor with --allow-removal";

/// What to do if a file names a service that an audience applied.
const TAKE_OVER: &str = "mend the files, or let them take it over with `orc conductor reload \
                         --take-over`, or start the conductor with --take-over";

impl Driver {
    /// Loads a fleet if it lacks no more than it may. The answer is the engine's answer about the
    /// players, or a rejection.
    pub(super) fn load_fleet(
        &mut self,
        fleet: &Arc<Fleet>,
        terms: LoadTerms,
        files: oneshot::Sender<Vec<FileOutcome>>,
        reply: ReplyId,
    ) {
        let hosts = fleet.hosts().clone();
        if let Some(why) = self.missing(fleet, terms).or_else(|| self.not_theirs(fleet, terms)) {
            if let Some(reply) = self.replies.remove(&reply) {
                // The asker may have gone.
                let _ = reply.send(Err(why));
            }
            return;
        }
        let deployments = match self.services.with_cells(fleet.deployments()) {
            Ok(deployments) => Arc::new(deployments),
            Err(why) => {
                if let Some(reply) = self.replies.remove(&reply) {
                    // The asker may have gone.
                    let _ = reply.send(Err(Declined::new(Ground::Prevented, why)));
                }
                return;
            }
        };
        if let Some(rejection) = self.load_deployments(deployments) {
            let answer = Answer::Rejected(rejection);
            return self.outgoing.hold(After::Effect(Effect::Answer { reply, answer }));
        }
        self.remember(fleet);
        // Before anything begins under this fleet.
        self.engine.deny_starts(denied_starts(&self.engine, fleet.policy()));
        self.loading.insert(reply);
        let most_removed = match terms.removal {
            Removal::AtMost(players) => players,
            Removal::Any => u32::MAX,
        };
        self.handle(Input::RosterLoaded { reply: ReplyTo::new(reply), hosts, most_removed });
        // From now on host sets are resolved against what the engine has, even if it is not on disk
        // yet: after a crash the files are read anew.
        self.fleet.send_replace(Arc::clone(fleet));
        self.services.has_fleet = true;
        self.load_services(fleet, terms.take_over);
        // The asker may have gone.
        let _ = files.send(self.services.take_outcomes());
    }

    /// Returns why a fleet is not loaded, if it lacks too much: too many players, limits in force,
    /// too many hosts of groups and labels, all files of services, or too many hosts of a service.
    fn missing(&self, fleet: &Fleet, terms: LoadTerms) -> Option<Declined> {
        let Removal::AtMost(most) = terms.removal else { return None };
        let players = self.too_many_removed(fleet.hosts(), most).map(|why| why.to_string());
        let limits = fleet.lifts(&self.in_force).map(|lifted| lifted.to_string());
        let units = self.units_left_behind(fleet.hosts());
        let shrunk = fleet.shrinks(&self.in_force, most).map(|shrunk| shrunk.to_string());
        let files = self.services.vanished(fleet);
        let left = self.services.left_hosts(fleet, terms);
        let missing = [players, limits, units, shrunk, files, left];
        let missing: Vec<String> = missing.into_iter().flatten().collect();
        let refusal = format!("{}; {ALLOW}", missing.join("; "));
        (!missing.is_empty()).then(|| Declined::new(Ground::Prevented, refusal))
    }

    /// Returns why players must not be removed, if they have units: nobody would look after those
    /// any more.
    fn units_left_behind(&self, hosts: &HostSet) -> Option<String> {
        let roster = self.engine.roster();
        let removed = roster.iter().map(|player| roster.host(player));
        let left = removed.filter(|host| roster.member(host).is_some() && !hosts.contains(host));
        self.services.units_on(left).map(|units| {
            format!(
                "services run on players that would be removed, and nobody would look after \
                     them there: {units}"
            )
        })
    }

    /// Returns why files of services are not loaded, if they name services that are not theirs.
    fn not_theirs(&self, fleet: &Fleet, terms: LoadTerms) -> Option<Declined> {
        let conflicts = self.services.conflicts(fleet, terms.take_over)?;
        Some(Declined::new(Ground::Prevented, format!("{conflicts}; {TAKE_OVER}")))
    }

    /// Returns the rejection that the engine would give for the players, asked before anything
    /// changes.
    fn too_many_removed(&self, hosts: &HostSet, most: u32) -> Option<Rejection> {
        let roster = self.engine.roster();
        let stay = hosts.iter().filter(|host| roster.member(host).is_some());
        let players = roster.members();
        let removed = players - count(stay.count());
        (removed > most).then_some(Rejection::TooManyRemoved { removed, players, most })
    }

    /// Remembers the limits that are in force from now on, so that they are missed if they vanish, and
    /// records which files changed. Files of services may have secrets in them, and who knows all
    /// the rest of such a file could guess a short one by its hash; so that hash is made with a key.
    fn remember(&mut self, fleet: &Fleet) {
        let mut in_force = fleet.in_force();
        if let Some(digest) = in_force.files.get_mut(SERVICES) {
            *digest = self.proofs.keys().veil(digest);
        }
        if in_force != self.in_force {
            let before = std::mem::take(&mut self.in_force.files);
            self.record_files(&before, &in_force.files);
            self.outgoing.persist(Op::Put(Record::InForce(in_force.clone())));
            self.in_force = in_force;
        }
    }

    /// Gives deployments to the engine. Returns why it does not take them, if so. The answer does
    /// not wait for the disk, because what the caller does next depends on it.
    pub(super) fn load_deployments(&mut self, deployments: Arc<Deployments>) -> Option<Rejection> {
        let input = |reply| Input::DeploymentsLoaded { reply, deployments };
        match self.ask_engine(input) {
            Some(Answer::Rejected(rejection)) => Some(rejection),
            _ => None,
        }
    }
}
