//! Putting a fleet in force: players, groups and deployments, all of it or nothing.
//!
//! The engine takes deployments and players one after the other. Once it has taken either, work
//! may have started under it or ended with it, so that nothing can be put back: whatever may be
//! refused is asked before anything changes. Deployments go first, so that a new player never
//! works without the limits that came with it.

use std::sync::Arc;

use orchestra_flow::{Answer, Effect, Input, Rejection, ReplyId};
use orchestra_model::{Deployments, HostSet};

use super::{Driver, count, outgoing::After};
use crate::fleet::Fleet;

impl Driver {
    /// Loads a fleet that lacks no more than `most_removed` of the players. What answers is the
    /// engine's word on the players, or a rejection.
    pub(super) fn load_fleet(&mut self, fleet: Arc<Fleet>, most_removed: u32, reply: ReplyId) {
        let hosts = fleet.hosts().clone();
        let refused = self
            .too_many_removed(&hosts, most_removed)
            .or_else(|| self.load_deployments(Arc::clone(fleet.deployments())));
        if let Some(rejection) = refused {
            let answer = Answer::Rejected(rejection);
            return self.outgoing.hold(After::Effect(Effect::Answer { reply, answer }));
        }
        self.loading.insert(reply);
        self.handle(Input::RosterLoaded { reply, hosts, most_removed });
        // Host sets are resolved against what the engine has from now on, whether or not that is on
        // disk: after a crash, the files are read anew.
        self.fleet.send_replace(fleet);
    }

    /// What the engine will say of the players, before it is too late to change nothing.
    fn too_many_removed(&self, hosts: &HostSet, most: u32) -> Option<Rejection> {
        let roster = self.engine.roster();
        let stay = hosts.iter().filter(|host| roster.member(host).is_some());
        let players = roster.members();
        let removed = players - count(stay.count());
        (removed > most).then_some(Rejection::TooManyRemoved { removed, players, most })
    }

    /// Gives the engine deployments; why it does not take them, if so. Nobody else is told: what
    /// the caller does next depends on it, so that the answer cannot wait for the disk.
    fn load_deployments(&mut self, deployments: Arc<Deployments>) -> Option<Rejection> {
        let own = self.address();
        self.engine.handle(self.clock.now(), Input::DeploymentsLoaded { reply: own, deployments });
        let mut effects: Vec<Effect> = self.engine.effects().collect();
        let is_ours =
            |effect: &mut Effect| matches!(effect, Effect::Answer { reply, .. } if *reply == own);
        let answer = effects.extract_if(.., is_ours).next();
        self.sort(effects);
        match answer {
            Some(Effect::Answer { answer: Answer::Rejected(rejection), .. }) => Some(rejection),
            _ => None,
        }
    }
}
