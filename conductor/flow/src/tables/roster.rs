//! The table of players: who belongs to the fleet, and who is attached.
//!
//! A player never leaves the table, because history names it. A player that leaves the fleet is a
//! member no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use orchestra_model::{
    Deployments, HostName, HostSet, JobId, Timestamp,
    delivery::{PlayerSnapshot, SpoolId},
    hostset::natural_order,
    record::{Drain, PlayerRecord},
};

use crate::{
    ids::{PlayerIx, SessionId},
    tables::{
        few::Few,
        ledger::Ledger,
        parties::PartyIx,
        player::{Counted, Player},
        quarantine::Quarantine,
        task::TaskRef,
    },
};

/// The table of players.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    players: Vec<Player>,
    by_host: BTreeMap<HostName, PlayerIx>,
    members: u32,
    attached: u32,
    quarantined: BTreeSet<PlayerIx>,
    /// What is counted of the cells of their hosts.
    ledger: Ledger,
    /// Players whose gates may have opened.
    woken: Few<PlayerIx>,
    /// Jobs that a change of a player concerns, because they have something parked there.
    concerned: Few<JobId>,
    /// Players whose hosts can serve others in a tree since, or no longer.
    servers: Few<PlayerIx>,
}

impl Roster {
    /// The player of this name, if the players file names it.
    pub fn member(&self, host: &HostName) -> Option<PlayerIx> {
        self.by_host.get(host).copied().filter(|ix| self[*ix].is_member())
    }

    /// The player of this name, also if the players file no longer names it.
    pub fn known(&self, host: &HostName) -> Option<PlayerIx> {
        self.by_host.get(host).copied()
    }

    /// The index of a player among targets that are in host-set order.
    pub(crate) fn place_among(&self, targets: &[PlayerIx], player: PlayerIx) -> Option<u32> {
        let name = self.host(player).as_str();
        let by_name = |target: &PlayerIx| natural_order(self.host(*target).as_str(), name);
        let place = targets.binary_search_by(by_name).ok()?;
        u32::try_from(place).ok()
    }

    /// The hosts of players that somebody drained.
    pub fn all_drained(&self) -> Vec<HostName> {
        let drained = self.players.iter().filter(|player| player.drained().is_some());
        drained.map(|player| player.host().clone()).collect()
    }

    /// Who drained a player and why, if somebody did.
    pub fn drained(&self, player: PlayerIx) -> Option<&Drain> {
        self[player].drained()
    }

    /// The name of a player.
    pub fn host(&self, player: PlayerIx) -> &HostName {
        self[player].host()
    }

    /// How many players the players file names.
    pub fn members(&self) -> u32 {
        self.members
    }

    /// How many players have a session, quarantined ones included.
    pub fn attached(&self) -> u32 {
        self.attached
    }

    /// The quarantined players: they have a session, and get nothing because they claim what they
    /// cannot prove.
    pub fn quarantined(&self) -> impl ExactSizeIterator<Item = PlayerIx> + '_ {
        self.quarantined.iter().copied()
    }

    /// Why a player is quarantined, if so.
    pub fn why_quarantined(&self, player: PlayerIx) -> Option<&str> {
        self[player].quarantine().map(|quarantine| quarantine.why.as_str())
    }

    /// The session of a player.
    pub fn session(&self, player: PlayerIx) -> Option<SessionId> {
        self[player].session()
    }

    /// When its last session ended; `None` while attached, or if it never was.
    pub fn detached_at(&self, player: PlayerIx) -> Option<Timestamp> {
        self[player].detached_at()
    }

    /// How many orders are out to a player, and how many it takes.
    pub fn load(&self, player: PlayerIx) -> (u32, u32) {
        let player = &self[player];
        (u32::try_from(player.in_flight().len()).unwrap_or(u32::MAX), player.max_tasks())
    }

    /// The spool that answered last, if any did.
    pub fn spool(&self, player: PlayerIx) -> Option<SpoolId> {
        self[player].spool()
    }

    /// Every member, in the order in which the players were first mentioned.
    pub fn iter(&self) -> impl Iterator<Item = PlayerIx> {
        self.indices().filter(|ix| self[*ix].is_member())
    }

    pub(crate) fn indices(&self) -> impl Iterator<Item = PlayerIx> + use<> {
        (0..u32::try_from(self.players.len()).unwrap_or(u32::MAX)).map(PlayerIx)
    }

    /// The player of this name, member or not. It is added if the table does not have it.
    pub(crate) fn intern(&mut self, host: &HostName) -> PlayerIx {
        if let Some(ix) = self.by_host.get(host) {
            return *ix;
        }
        let ix = PlayerIx(u32::try_from(self.players.len()).unwrap_or(u32::MAX));
        self.players.push(Player::new(host.clone()));
        self.by_host.insert(host.clone(), ix);
        ix
    }

    /// Compares the table with a players file. Returns the hosts of the file that are no members,
    /// and the members that the file does not name.
    pub(crate) fn compare<'a>(&self, hosts: &'a HostSet) -> (Vec<&'a HostName>, Vec<PlayerIx>) {
        let mut joining = Vec::new();
        let mut named = vec![false; self.players.len()];
        for host in hosts {
            match self.member(host) {
                Some(player) => named[player.index()] = true,
                None => joining.push(host),
            }
        }
        let gone = self.iter().filter(|player| !named[player.index()]);
        (joining, gone.collect())
    }

    pub(crate) fn set_member(&mut self, player: PlayerIx, member: bool) {
        match (self[player].is_member(), member) {
            (false, true) => self.members += 1,
            (true, false) => self.members -= 1,
            _ => {}
        }
        self.change(player, |player| player.set_member(member));
    }

    /// Opens a session of a player that has none, and takes over what the player said of itself.
    pub(crate) fn attach(&mut self, ix: PlayerIx, session: SessionId, snapshot: &PlayerSnapshot) {
        self.change(ix, |player| player.attach(session, snapshot));
        self.attached += 1;
    }

    /// Opens a session of a player that has none, and quarantines the player: what it said of
    /// itself is not taken over.
    pub(crate) fn attach_quarantined(
        &mut self,
        ix: PlayerIx,
        session: SessionId,
        quarantine: Quarantine,
    ) {
        self.change(ix, |player| {
            player.attach_unheard(session);
            player.set_quarantine(Some(quarantine));
        });
        self.attached += 1;
        self.quarantined.insert(ix);
    }

    /// Quarantines an attached player. It counts as absent from now on.
    pub(crate) fn quarantine(&mut self, ix: PlayerIx, now: Timestamp, quarantine: Quarantine) {
        self.change(ix, |player| {
            player.go_away(now);
            player.set_quarantine(Some(quarantine));
        });
        self.quarantined.insert(ix);
    }

    /// Ends the player's session and its quarantine. It counts as absent from now on, or since its
    /// quarantine began.
    pub(crate) fn detach(&mut self, ix: PlayerIx, now: Timestamp) {
        let session = self.change(ix, |player| {
            if player.attached() {
                player.go_away(now);
            }
            let session = player.take_session();
            player.set_quarantine(None);
            session
        });
        self.attached -= u32::from(session.is_some());
        self.quarantined.remove(&ix);
    }

    /// Restores what the store remembers of a player.
    pub(crate) fn restore(&mut self, record: &PlayerRecord) {
        let ix = self.intern(&record.host);
        self.set_member(ix, !record.removed);
        self.change(ix, |player| player.restore(record));
    }

    // ---- changes, and what follows from them ----

    /// Changes a player. Afterwards the cells of its host are recounted, and what follows is noted:
    /// the player is to be looked at if its gates may have opened, and so are jobs that have
    /// something parked on it or on players that wait for its cells.
    #[inline]
    pub(crate) fn change<R>(&mut self, ix: PlayerIx, change: impl FnOnce(&mut Player) -> R) -> R {
        let player = &mut self.players[ix.index()];
        let result = change(player);
        if player.take_gates_opened() {
            self.woken.insert(ix);
        }
        if player.take_jobs_concerned() {
            self.concerned.extend(player.parked().map(TaskRef::job));
        }
        if player.note_can_serve() {
            self.servers.insert(ix);
        }
        let before = player.note_counted();
        if player.counted() != before {
            self.recount_cells(ix, before);
        }
        result
    }

    /// Brings the counts of a host's cells in line with the host. `before` is what they counted of
    /// it.
    fn recount_cells(&mut self, ix: PlayerIx, before: Counted) {
        let player = &self.players[ix.index()];
        let counts = player.counted();
        if counts.holds != before.holds && player.waits_for_room() {
            // Tasks that wait there for room share the hold now, or can no longer do so.
            if counts.holds {
                self.woken.insert(ix);
            }
            self.concerned.extend(player.parked_changes().map(TaskRef::job));
        }
        // Tasks that wait there to be in motion are in motion with the host now, or have to wait
        // for room instead.
        let awaits_other = counts.moves && !before.moves || before.holds && !counts.holds;
        if awaits_other && player.waits_for_motion() {
            self.woken.insert(ix);
        }
        let changed = |now: bool, before: bool| (now != before).then_some(now);
        let changes = [
            changed(counts.holds, before.holds),
            changed(counts.moves, before.moves),
            changed(counts.dead, before.dead),
        ];
        let turned = self.ledger.count(player.cells(), changes);
        for cell in turned {
            for waiting in self.ledger.waiting_for(cell) {
                let changes = self.players[waiting.index()].parked_changes();
                self.concerned.extend(changes.map(TaskRef::job));
            }
        }
    }

    /// Takes out a player whose gates may have opened.
    pub(crate) fn pop_woken(&mut self) -> Option<PlayerIx> {
        self.woken.pop_first()
    }

    /// Notes that a player is to be looked at, because something that its gates depend on has
    /// changed.
    pub(crate) fn wake(&mut self, ix: PlayerIx) {
        self.woken.insert(ix);
    }

    pub(crate) fn is_woken(&self, ix: PlayerIx) -> bool {
        self.woken.contains(ix)
    }

    /// Takes out a player whose host can serve others in a tree since, or no longer.
    pub(crate) fn pop_server(&mut self) -> Option<PlayerIx> {
        self.servers.pop_first()
    }

    /// Takes out a job that a change of a player concerns.
    pub(crate) fn pop_concerned(&mut self) -> Option<JobId> {
        self.concerned.pop_first()
    }

    // ---- cells ----

    /// What the cells count.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Lets a player wait for room in the cells of its host; or, where its host holds them, to be
    /// in motion there.
    pub(crate) fn await_room(&mut self, ix: PlayerIx) {
        let party = self[ix].party();
        if self[ix].holds() {
            if !self.change(ix, |player| player.note_waits_for_motion(true)) {
                self.ledger.queue_to_move(ix, party);
            }
        } else if !self.change(ix, |player| player.note_waits_for_room(true)) {
            self.ledger.queue(ix, party);
        }
    }

    /// Takes out the next player that waited for room which there is now, or to be in motion where
    /// that is possible now. Players whose hosts hold already come first, because they take no
    /// room.
    pub(crate) fn admit(&mut self) -> Option<PlayerIx> {
        if let Some(player) = self.ledger.admit_to_move() {
            self.change(player, |player| player.note_waits_for_motion(false));
            return Some(player);
        }
        let player = self.ledger.admit()?;
        self.change(player, |player| player.note_waits_for_room(false));
        Some(player)
    }

    /// Notes which deployments will be in force. Counts nothing before all holders are known.
    pub(crate) fn set_deployments(&mut self, deployments: Arc<Deployments>) {
        self.ledger.set_deployments(deployments);
    }

    /// Counts all cells anew, from the hosts that hold them.
    pub(crate) fn put_in_force(&mut self, deployments: Arc<Deployments>) {
        self.ledger = Ledger::new(deployments);
        for ix in self.indices() {
            let player = &mut self.players[ix.index()];
            player.set_cells(Arc::default(), PartyIx::default());
            let waited = [player.note_waits_for_room(false), player.note_waits_for_motion(false)];
            if waited.contains(&true) {
                self.woken.insert(ix);
            }
        }
        let deployments = Arc::clone(self.ledger.deployments());
        for (host, cells) in deployments.cells().by_host() {
            if let Some(ix) = self.known(host) {
                let party = self.ledger.party(cells);
                self.players[ix.index()].set_cells(Arc::clone(cells), party);
            }
        }
        for player in &mut self.players {
            player.note_counted();
            let (counted, one) = (player.counted(), |counted: bool| counted.then_some(true));
            let counts = [one(counted.holds), one(counted.moves), one(counted.dead)];
            self.ledger.count(player.cells(), counts);
        }
    }

    /// Sets the cells of a player that was added just now.
    pub(crate) fn give_cells(&mut self, ix: PlayerIx) {
        let cells = self.ledger.deployments().cells().shared_of_host(self.host(ix));
        let party = self.ledger.party(&cells);
        self.players[ix.index()].set_cells(cells, party);
    }
}

impl std::ops::Index<PlayerIx> for Roster {
    type Output = Player;

    #[inline]
    fn index(&self, ix: PlayerIx) -> &Player {
        &self.players[ix.index()]
    }
}
