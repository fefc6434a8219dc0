//! A new players file: which players join and leave the fleet, and what becomes of the work of
//! those that leave.

use orchestra_model::{HostSet, TaskState};

use crate::{
    Engine,
    answer::{self, Rejection, ReplyTo},
    effect::CloseReason,
    ids::PlayerIx,
    tables::job::Job,
};

impl Engine {
    pub(crate) fn load_roster(
        &mut self,
        reply: ReplyTo<answer::Loaded>,
        hosts: &HostSet,
        most_removed: u32,
    ) {
        let (joining, gone) = self.roster.compare(hosts);
        let removed = u32::try_from(gone.len()).unwrap_or(u32::MAX);
        if removed > most_removed {
            let players = self.roster.members();
            let rejection = Rejection::TooManyRemoved { removed, players, most: most_removed };
            return self.reject(reply, rejection);
        }
        let added = u32::try_from(joining.len()).unwrap_or(u32::MAX);
        for host in joining {
            let known = self.roster.known(host).is_some();
            let player = self.roster.intern(host);
            if !known {
                self.roster.give_cells(player);
            }
            self.roster.set_member(player, true);
            self.put(self.roster[player].record());
        }
        self.remove_players(&gone);
        // Whether one-of jobs are stuck depends on which players are left, or have come.
        self.flows.note_all_changed(|_, job| job.is_one_of());
        let players = self.roster.members();
        self.answer(reply, answer::Loaded { players, added, removed });
    }

    /// Takes players out of the fleet. Tasks that were never sent to them become `cancelled`, those
    /// that were sent `lost`.
    fn remove_players(&mut self, gone: &[PlayerIx]) {
        if gone.is_empty() {
            return;
        }
        let mut is_gone = vec![false; self.roster.indices().count()];
        for player in gone.iter().copied() {
            is_gone[player.index()] = true;
            self.roster.set_member(player, false);
            // If the player is attached, the end of its session is recorded anyway.
            let is_recorded = self.roster[player].attached();
            if let Some(session) = self.roster[player].session() {
                self.detach(player, session);
                self.close(player, session, CloseReason::Removed);
            }
            if !is_recorded {
                self.put(self.roster[player].record());
            }
            self.lose_in_flight(player);
        }
        for job in self.gathering.clone() {
            self.await_quorum(job);
        }
        for task in self.waiting_for(|player| is_gone[player.index()]) {
            let goes_elsewhere = |job| Job::is_one_of(job) && self.is_anybody_left(job);
            if !self.job(task.job()).is_some_and(goes_elsewhere) {
                self.withdraw(task);
            }
        }
    }

    /// Makes the tasks `lost` that were sent to a player which is no longer in the fleet.
    pub(crate) fn lose_in_flight(&mut self, player: PlayerIx) {
        for flying in self.roster[player].in_flight().to_vec() {
            self.finish(flying.task, TaskState::Lost, Some("player removed"));
        }
    }
}
