//! A new players file: who joins, who goes, and what becomes of the work of those who go.

use orchestra_model::{HostSet, TaskState};

use crate::{
    Engine, PlayerIx,
    effect::{Answer, CloseReason, Effect, Rejection},
    input::ReplyId,
};

impl Engine {
    pub(crate) fn load_roster(&mut self, reply: ReplyId, hosts: &HostSet, most_removed: u32) {
        let gone: Vec<PlayerIx> = self
            .roster
            .iter()
            .filter(|player| !hosts.contains(self.roster.host(*player)))
            .collect();
        let removed = u32::try_from(gone.len()).unwrap_or(u32::MAX);
        if removed > most_removed {
            let rejection = Rejection::TooManyRemoved {
                removed,
                players: self.roster.members(),
                most: most_removed,
            };
            return self.answer(reply, Answer::Rejected(rejection));
        }
        let mut added = 0;
        for host in hosts {
            let player = self.roster.intern(host);
            if !self.roster[player].member {
                added += 1;
                self.roster.set_member(player, true);
                let record = self.roster[player].record();
                self.persist(record);
            }
        }
        self.remove_players(&gone);
        let players = self.roster.members();
        self.answer(reply, Answer::Loaded { players, added, removed });
    }

    /// Tasks never sent become `cancelled`, those sent or running `lost`.
    fn remove_players(&mut self, gone: &[PlayerIx]) {
        if gone.is_empty() {
            return;
        }
        let mut is_gone = vec![false; self.roster.indices().count()];
        for player in gone {
            is_gone[player.index()] = true;
            self.roster.set_member(*player, false);
        }
        for player in gone {
            if let Some(session) = self.roster.detach(*player, self.now) {
                let reason = CloseReason::Removed;
                self.effects.push_back(Effect::Close { player: *player, session, reason });
                self.recount_absent(*player, true);
            }
            let record = self.roster[*player].record();
            self.persist(record);
            for flying in self.roster[*player].in_flight.clone() {
                self.finish(flying.task, TaskState::Lost, Some("player removed"));
            }
        }
        for task in self.waiting_for(|player| is_gone[player.index()]) {
            let Some(job) = self.job(task.job()) else {
                continue;
            };
            let elsewhere = job.is_one_of()
                && job.choice.chosen.is_none()
                && job.targets.iter().any(|player| self.roster[*player].member);
            if !elsewhere && job.state_of(task.index) == TaskState::Waiting {
                self.finish(task, TaskState::Cancelled, Some("player removed"));
            }
        }
    }
}
