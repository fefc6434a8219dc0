//! What goes wrong.

use orchestra_flow::SessionId;
use orchestra_model::HostName;
use orchestra_store::Fault;

use super::{
    World, fleet,
    network::{Down, Up},
    player::{Fuse, Player},
};
use crate::{chance::Chance, script::Deed};

impl World {
    pub(super) fn fail(&mut self, deed: Deed, chance: &mut Chance) {
        let host = chance.pick(&self.everybody).unwrap().clone();
        match deed {
            Deed::ConductorCrash => self.crash_conductor(chance),
            Deed::BackUp => {
                if !self.restored {
                    self.wiped.clear();
                }
                self.backup = Some((self.disk.copy(), self.reference.clone()));
            }
            Deed::RestoreBackup => self.restore_backup(chance),
            Deed::DiskFull => self.disk.fail_next(Fault::Full),
            Deed::PlayerCrash => {
                let mut fuse = Fuse(Some(chance.below(6) as u32));
                self.sit(&host, &mut fuse, chance);
                if fuse.0 != Some(0) {
                    self.restart_sitter(&host, Player::start_sitter);
                }
            }
            Deed::Reboot => {
                let mut fuse = Fuse(Some(chance.below(6) as u32));
                self.sit(&host, &mut fuse, chance);
                self.restart_sitter(&host, Player::reboot);
            }
            Deed::Wipe => {
                self.kept.retain(|(at, _)| *at != host);
                self.wiped.insert(host.clone());
                self.forget_unknowable();
                self.restart_sitter(&host, Player::wipe);
            }
            Deed::PlayerDisk => {
                let player = self.players.get_mut(&host).unwrap();
                if player.is_broken() {
                    let done = player.mend_disk();
                    self.note_done(&host, done);
                } else {
                    player.fail_disk(chance);
                }
                self.sit(&host, &mut Fuse(None), chance);
            }
            Deed::Mood => {
                let player = self.players.get_mut(&host).unwrap();
                let flag = chance.percent(60);
                match chance.below(3) {
                    0 => player.stopping = flag,
                    1 => player.cannot_spawn = flag,
                    _ => player.kills_slowly = flag,
                }
            }
            Deed::Rescan => {
                self.steady_scores = false;
                self.restart_sitter(&host, Player::start_sitter);
                let player = self.players.get_mut(&host).unwrap();
                player.scores = fleet::scores(chance);
                player.max_tasks = chance.between(1, 4) as u32;
                self.restart_sitter(&host, Player::start_sitter);
            }
            Deed::Lie => self.lie(&host, chance),
            Deed::Break => {
                let links: Vec<SessionId> = self.network.links.keys().copied().collect();
                if let Some(session) = chance.pick(&links).copied() {
                    let (up, down) = (chance.below(4), chance.below(4));
                    self.tell(|| format!("  breaks {session:?}"));
                    self.network.break_off(session, up, down);
                }
            }
            Deed::Partition => self.cut_off(host, chance),
            Deed::Rejoin => {
                let cut_off: Vec<HostName> = self.network.cut_off.iter().cloned().collect();
                if let Some(host) = chance.pick(&cut_off) {
                    self.network.cut_off.remove(host);
                }
            }
            Deed::Duplicate => self.duplicate(chance),
            Deed::Reorder => self.reorder(chance),
            Deed::SetClock => {
                let most = *chance.pick(&[1_000, 60_000, 3_600_000]).unwrap();
                self.skew += chance.below(2 * most) as i64 - most as i64;
            }
            _ => {}
        }
    }

    fn crash_conductor(&mut self, chance: &mut Chance) {
        let conductor = self.conductor.as_mut().unwrap();
        if chance.percent(50) {
            conductor.flush(&mut self.reference);
        }
        if chance.percent(25) {
            conductor.commit(&mut self.reference);
            let most = chance.below(5);
            self.act(most);
        }
        let kept = chance.below(200);
        self.die(kept);
        self.start_conductor();
    }

    /// The conductor is gone; whoever talked to it learns that after what is under way.
    pub(super) fn die(&mut self, kept: usize) {
        let conductor = self.conductor.take().unwrap();
        conductor.die(kept, &self.disk, &mut self.reference);
        // Nobody waits for answers of a conductor that is no more.
        self.asked.clear();
        self.recovering = false;
        let links: Vec<SessionId> = self.network.links.keys().copied().collect();
        links.into_iter().for_each(|session| self.network.close_at_conductor(session));
    }

    /// The conductor's disk is replaced by its newest copy. What was promised since is forgotten,
    /// which is not to be mended; but nothing may run twice.
    fn restore_backup(&mut self, chance: &mut Chance) {
        let Some((disk, reference)) = &self.backup else { return };
        let (disk, reference) = (disk.copy(), reference.clone());
        self.die(chance.below(200));
        (self.disk, self.reference) = (disk, reference);
        self.steady_cells = false;
        // What runs now by forgotten orders is nobody's any more.
        self.kept.clear();
        self.restored = true;
        self.forget_unknowable();
        self.tell(|| "  an old copy is restored".to_owned());
        self.start_conductor();
    }

    /// Where a spool was lost, and the store forgot as well, nobody at all knows what ran.
    fn forget_unknowable(&mut self) {
        let (wiped, reference) = (&self.wiped, &self.reference);
        if self.restored {
            let known = |at: &HostName, key| reference.spawned(at, key).is_some();
            self.spawned.retain(|(at, key)| !wiped.contains(at) || known(at, *key));
        }
    }

    /// A host is cut off; either side may learn of that at once, or when a connection comes again.
    fn cut_off(&mut self, host: HostName, chance: &mut Chance) {
        self.tell(|| format!("  {host} is cut off"));
        let sessions = self.network.links.iter().filter(|(_, link)| link.host == host);
        let sessions: Vec<SessionId> = sessions.map(|(session, _)| *session).collect();
        for session in sessions {
            if chance.percent(50) {
                self.network.close_at_conductor(session);
                self.hang_up(session, &host);
            }
            if chance.percent(50) {
                self.network.close_at_player(session);
                self.players.get_mut(&host).unwrap().hang_up(session);
            }
        }
        self.network.cut_off.insert(host);
    }

    /// A report comes twice; so does a command, but for the first message of a connection, and an
    /// order long after it was obeyed.
    fn duplicate(&mut self, chance: &mut Chance) {
        let links: Vec<SessionId> = self.network.links.keys().copied().collect();
        let Some(session) = chance.pick(&links) else { return };
        let link = self.network.links.get_mut(session).unwrap();
        if chance.percent(50) {
            let at = chance.below(link.up.len());
            if let Some(again @ Up::Report(..)) = link.up.get(at).cloned() {
                link.up.push_back(again);
            }
        } else if chance.percent(50) {
            link.down.extend(link.ordered.clone());
        } else {
            let at = chance.below(link.down.len());
            if let Some(again @ Down::Command { .. }) = link.down.get(at).cloned() {
                link.down.insert(at, again);
            }
        }
    }

    /// Two reports, or two commands, change places.
    fn reorder(&mut self, chance: &mut Chance) {
        let links: Vec<SessionId> = self.network.links.keys().copied().collect();
        let Some(session) = chance.pick(&links) else { return };
        let link = self.network.links.get_mut(session).unwrap();
        let at = chance.below(link.up.len());
        if let (Some(Up::Report(..)), Some(Up::Report(..))) = (link.up.get(at), link.up.get(at + 1))
        {
            link.up.swap(at, at + 1);
        }
        let at = chance.below(link.down.len());
        if let (Some(Down::Command { .. }), Some(Down::Command { .. })) =
            (link.down.get(at), link.down.get(at + 1))
        {
            link.down.swap(at, at + 1);
        }
    }
}
