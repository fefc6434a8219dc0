//! The end of a run: everything is well again, and then everything has to end.
//!
//! First the machines are well: connections hold, players are back, nobody crashes, and units come to be
//! ready, but those that gave up. Whatever can go
//! on by itself does, and what is left waits for a person, for a reason that the reference model
//! shares. Then persons do what is theirs: every flow that does not wait for a retry ends. Those
//! that do are cancelled, and end too. At the end nothing is held, nothing is owed, nothing runs.

use orchestra_model::{FlowId, HostSet};

use super::{World, player::Player};
use crate::chance::Chance;

/// Rounds after which what has not ended hangs.
const ROUNDS: usize = 1_000;

impl World {
    pub(crate) fn heal(&mut self) {
        let mut chance = Chance::new(self.seed ^ 0x6ea1);
        self.tell(|| "heal".to_owned());
        self.healing = true;
        self.network.cut_off.clear();
        for host in self.everybody.clone() {
            let player = self.players.get_mut(&host).unwrap();
            (player.stopping, player.cannot_spawn, player.kills_slowly) = (false, false, false);
            if player.is_broken() {
                let done = player.mend_disk();
                self.note_done(&host, done);
            }
        }
        self.settle_down(&mut chance);
        self.tell(|| "persons".to_owned());
        self.undrain(self.roster.clone());
        self.release(HostSet::from_names(self.everybody.clone()));
        for _ in 0..3 {
            self.resume_everything();
            self.settle_down(&mut chance);
            self.release(HostSet::from_names(self.everybody.clone()));
            self.settle_down(&mut chance);
        }
        let is_stuck = |flow: &FlowId| self.reference.waits_in_a_circle(*flow);
        if !self.steady_scores && self.alive().iter().any(is_stuck) {
            self.mend_scores();
            self.settle_down(&mut chance);
        }
        for flow in self.alive() {
            assert!(
                self.reference.waits_for_a_retry(flow) || self.reference.waits_to_begin(flow),
                "flow {flow} hangs, and no person can help: {:#?}",
                self.conductor().engine.flow_status(flow)
            );
        }
        self.tell(|| "cancel".to_owned());
        self.load_roster(HostSet::from_names(self.everybody.clone()));
        self.cancel_everything();
        self.settle_down(&mut chance);
        self.release(HostSet::from_names(self.everybody.clone()));
        self.settle_down(&mut chance);
        let alive = self.alive();
        assert!(alive.is_empty(), "flows {alive:?} were cancelled and hang");
        self.check_emptiness();
    }

    /// Makes every score one that only looks, which waits for nobody.
    fn mend_scores(&mut self) {
        self.tell(|| "scores are mended".to_owned());
        for host in self.everybody.clone() {
            let player = self.players.get_mut(&host).unwrap();
            player.scores.values_mut().for_each(|score| score.disruptive = false);
            self.restart_sitter(&host, Player::start_sitter);
        }
    }

    /// Lets everything go on until nothing moves by itself.
    fn settle_down(&mut self, chance: &mut Chance) {
        let mut quiet = 0;
        for _ in 0..ROUNDS {
            if self.conductor().engine.stale().is_some() && !self.conductor().is_writing() {
                self.recover();
            }
            self.correct_liars();
            self.heal_units();
            for host in self.everybody.clone() {
                if self.players[&host].session.is_none() && self.roster.contains(&host) {
                    self.dial(&host);
                }
            }
            self.everything(chance);
            self.network.sweep();
            let running: usize = self.players.values().map(|player| player.processes.len()).sum();
            for _ in 0..running {
                self.end_something(chance);
            }
            self.everything(chance);
            self.check();
            let moves = running > 0 || !self.conductor().is_at_rest() || self.in_flight() > 0;
            quiet = if moves { 0 } else { quiet + 1 };
            // Long enough for every pause and every patience there is.
            if quiet == 4 {
                break;
            }
            self.pass([1_000, 50_000, 110_000, 2_000_000][quiet.min(3)]);
        }
        self.everything(chance);
        self.check();
        assert!(quiet > 0 || self.in_flight() == 0, "the healed world does not come to rest");
    }

    /// Everything is over: no cells are held, no end is owed, nobody keeps anything.
    fn check_emptiness(&mut self) {
        let held = self.reference.still_held();
        assert!(held.is_empty(), "{held:?} still hold their cells");
        for (host, player) in &self.players {
            let settled = player.settled();
            assert!(settled.is_empty(), "{host} was never told to forget {settled:?}");
            assert!(player.processes.is_empty(), "{host} still runs something");
        }
        for (host, key) in &self.kept {
            let kept = self.reference.kept_end(host, *key).is_some();
            let newest = self.reference.is_newest(host, *key);
            assert!(kept || !newest, "the end of {key} on {host} is forgotten");
        }
    }
}
